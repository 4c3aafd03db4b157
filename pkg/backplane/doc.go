// Package backplane makes a process a node: it opens registry, bus and links
// together, and carries streams over them.
package backplane
