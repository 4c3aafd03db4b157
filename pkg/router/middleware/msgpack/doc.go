// Package msgpack is the middleware for clients that speak MessagePack, with the
// subprotocol velaros-msgpack.
//
//	r.Use(msgpack.Middleware())
//
// The envelope is that of package json, as a map in MessagePack:
//
//	{"path": "/users/get", "id": "7", "data": {"user": 1}, "meta": {"trace": "x"}}
//	{"id": "7", "data": {"name": "Ada"}}
//
// # What is sent
//
// The data of a message to the client is what github.com/vmihailenco/msgpack/v5
// makes of the value that was sent, except for
//
//	string          {"message": the string}
//	Error           {"error": the text}
//	FieldError      {"error": "Validation error", "fields": [{field: error}]}
//	[]FieldError    the same with several fields
//	*router.Error   {"error": the message, "code": the code}
//	router.Raw      the bytes as they are
//
// and nil, with which there is no data.
package msgpack
