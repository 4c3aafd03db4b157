// Package quota counts how much somebody does.
//
// A [Rate] says how much is allowed, and a [Bucket] whether it is kept, by one
// goroutine.
package quota
