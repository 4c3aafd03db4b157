// Package doctest runs the documentation: every code block of every Markdown file
// in this repository is compiled, executed or replayed by this package's tests, so
// that none can stop being true. A block's language says what happens to it:
//
//   - go: compiled inside this module. A block without a package clause is the
//     body of a function, or the declarations of a file; its imports are found.
//   - sh: executed by bash in the repository's root; it must succeed.
//   - lines "client -> ..." and "server -> ..." (in a block of any language):
//     replayed on a WebSocket against `boreas dev`, or against the program that
//     the document keeps running. "..." as a value matches any value;
//     "server -> close CODE REASON" is the end of the connection.
//   - json: must be valid JSON.
//   - proto: must be a part of the .proto file of the envelopes.
//   - text: figures and output, not checked.
//
// Any other language fails, so that a new kind of block gets a rule.
//
// A comment before a block says more:
//
//	<!-- doctest: serves URL -->  a program: started, asked for URL, interrupted
//	<!-- doctest: keeps URL -->   the same, but interrupted at the document's end
//	<!-- doctest: dry -->         make targets, run with make -n, and lines of docker
//	                              compose, whose names docker-compose.yml must have
//
// The ports in a document are replaced by free ones, and port 6379 by that of a
// redis-server of the test. The blocks of one document run in order.
package doctest
