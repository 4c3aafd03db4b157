package chat

import (
	stdjson "encoding/json"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// A service with generated types would hand those to its Protobuf clients. This one
// is happy with objects, for which Protobuf has a type of its own.

func speaksProtobuf(ctx *router.Context) bool {
	return ctx.Subprotocol() == envelope.Protobuf.Subprotocol()
}

// read decodes the data of the message, if it has any, and tells the client if it
// does not fit.
func read(ctx *router.Context, into any) bool {
	if len(ctx.Data()) == 0 {
		return true
	}
	err := decode(ctx, into)
	if err != nil {
		ctx.Error = router.NewError(wire.CodeValidation, "the data does not fit "+ctx.Path()+": "+err.Error())
	}
	return err == nil
}

func decode(ctx *router.Context, into any) error {
	if !speaksProtobuf(ctx) {
		return ctx.Unmarshal(into)
	}
	var object structpb.Struct
	if err := ctx.Unmarshal(&object); err != nil {
		return err
	}
	b, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	return stdjson.Unmarshal(b, into)
}

// answer sends an object as the reply.
func answer(ctx *router.Context, object map[string]any) {
	if !speaksProtobuf(ctx) {
		send(ctx, object)
		return
	}
	data, err := structpb.NewStruct(object)
	if err != nil {
		ctx.Error = err
		return
	}
	send(ctx, data)
}

// send sends a reply. The router reports an error that is left on the context.
func send(ctx *router.Context, data any) {
	if err := ctx.Send(data); err != nil {
		ctx.Error = err
	}
}

// pushed is an object as the data of a push, for clients of each encoding. Texts that
// are no UTF-8, which MessagePack clients may send, are refused.
func pushed(object map[string]any) (router.Payloads, error) {
	text, err := stdjson.Marshal(object)
	if err != nil {
		return nil, err
	}
	data, err := structpb.NewStruct(object)
	if err != nil {
		return nil, router.NewError(wire.CodeValidation, err.Error())
	}
	binary, err := proto.Marshal(data)
	return router.Payloads{envelope.JSON: text, envelope.Protobuf: binary}, err
}
