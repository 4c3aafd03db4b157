package router

// InboundMessage is a message of the client as middleware and unmarshalers see it.
type InboundMessage struct {
	hasSetID   bool // the client sent it
	hasSetPath bool // since the last match
	lazyMeta   func(raw []byte) map[string]any
	rawMeta    []byte

	// ID correlates the message with its answer; empty if the client sent none.
	ID string
	// Path decides which handlers run.
	Path string
	// RawData is the message as the client sent it. It must not be changed.
	RawData []byte
	// Data is the payload that middleware found in RawData, still encoded.
	Data []byte
	// Meta is what the client sent beside the data. Middleware may leave it nil
	// until [Context.Meta] asks for it.
	Meta map[string]any
}

// OutboundMessage is a message to the client before it is encoded.
type OutboundMessage struct {
	// ID is that of the message which is answered, or empty.
	ID string
	// Data is what the handler sent.
	Data any
}

// Raw is data that is already encoded in the encoding of the socket, such as what
// [Context.Data] returns. The middleware of every encoding puts it into the
// envelope as it is: ctx.Send(router.Raw(ctx.Data())) is an echo for all of them.
// Whoever sends Raw vouches for its syntax.
type Raw []byte
