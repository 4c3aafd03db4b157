// Package envelope reads and writes what clients say: messages with a path, an id,
// data and meta, in JSON, MessagePack or Protobuf. The envelopes are Velaros's, so
// that its clients work unchanged.
//
//	client: {"path": "/chat/join", "id": "1", "data": {"room": "general"}, "meta": {"v": 2}}
//	server: {"id": "1", "data": {"status": "joined"}}
//	error:  {"id": "1", "data": {"error": "no service handles /x", "code": "no_route"}}
//
// MessagePack has the same map with the same keys; envelope.proto defines the
// envelope of Protobuf, which has a field of its own for errors.
//
// # Guarantees
//
// A message that Peek accepts is valid in its encoding from its first byte to its
// last, has no key of the envelope twice, and has an id and a path within the
// limits; so whoever decodes it later meets no surprise, and two decoders cannot
// see different paths. Peek never panics, and needs memory only for ids, paths and
// keys with escapes. What AppendMessage and AppendError write is accepted by Peek
// as long as the Data and Meta that they were given are valid.
//
// # Where Peek is stricter than other decoders
//
//   - The keys path, id, data and meta must be in lower case and occur once.
//     encoding/json takes "Path" for path, and most decoders take the last of two.
//   - JSON must be UTF-8 throughout; encoding/json replaces what is not.
//   - Objects and arrays may be nested MaxDepth deep.
//   - Nothing may follow the message, and the keys of a MessagePack envelope must
//     be of type str.
//   - Protobuf: the fields 1 to 4 must have the type of envelope.proto.
//
// An id or path that is null is absent. Half of a surrogate pair that is escaped in
// a JSON id or path reads as U+FFFD, as in encoding/json.
//
// # Not guaranteed
//
// Data and Meta are not decoded: a Protobuf payload may be any bytes. Whether a
// path has a valid form is for the router to say.
//
// # Lifecycle and concurrency
//
// There is no state and no goroutine: every function may be called from anywhere.
package envelope
