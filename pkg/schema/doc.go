// Package schema checks the data of messages against JSON Schemas that services
// declare for their routes.
//
//	s, err := schema.Compile(`{"type":"object","required":["room"]}`)
//	problems := s.JSON([]byte(`{}`)) // [{room is required}]
//
// # Guarantees
//
// A schema is compiled from its own text alone: nothing is ever loaded from a file
// or the network. Text, patterns and what a pattern compiles to are bounded, and
// patterns run in linear time (package regexp), so that the data of a hostile client
// cannot make them slow. Numbers that are out of range of a float64 are refused
// before arithmetic sees them. A [Schema] may be used by many goroutines.
//
// # Not guaranteed
//
// A schema can be written to be slow, with references that fan out: schemas come
// from services, which are trusted as far as that.
package schema
