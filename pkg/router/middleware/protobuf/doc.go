// Package protobuf is the middleware for clients that speak Protocol Buffers, with
// the subprotocol velaros-protobuf.
//
//	r.Use(protobuf.Middleware())
//
// Handlers work with generated types and do not see the envelope, which clients find
// in pkg/envelope/envelope.proto:
//
//	var req userpb.GetUserRequest
//	err := ctx.Unmarshal(&req)
//	ctx.Send(&userpb.GetUserResponse{Name: "Ada"})
//
// Values of the metadata are JSON; one that is not is handed over as []byte.
//
// # What is sent
//
//	proto.Message   the data
//	Error           the envelope's error
//	FieldError      the envelope's error with code "validation" and the field
//	[]FieldError    the same with several fields
//	*router.Error   the envelope's error with its code
//	router.Raw      the data as it is
//	nil             no data
//
// Everything else is an error.
package protobuf
