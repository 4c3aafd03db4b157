// Package json is the middleware for clients that speak JSON: those without a
// subprotocol and those with velaros-json.
//
//	r.Use(json.Middleware())
//
// A message of the client is an object of which all but one of path and id may be
// absent; a message to the client has the id of the one that it answers:
//
//	{"path": "/users/get", "id": "7", "data": {"user": 1}, "meta": {"trace": "x"}}
//	{"id": "7", "data": {"name": "Ada"}}
//
// # What is sent
//
// The data of a message to the client is what encoding/json makes of the value that
// was sent, except for
//
//	string          {"message": the string}
//	Error           {"error": the text}
//	FieldError      {"error": "Validation error", "fields": [{field: error}]}
//	[]FieldError    the same with several fields
//	*router.Error   {"error": the message, "code": the code}
//	router.Raw      the bytes as they are
//	json.RawMessage the bytes as they are, if they are valid JSON
//
// and nil, with which there is no data. Note that a []byte becomes a base64 string.
package json
