// Package archtest holds the rules of this repository that a compiler does not
// check: which package may import which, how long a file may be, and that the
// functions which ARCHITECTURE.md names exist. It has tests only.
package archtest
