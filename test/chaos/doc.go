// Package chaos finds out whether Boreas keeps its word while things break.
//
// [Run] starts real redis-servers, gateways and service instances as processes of
// their own and WebSocket clients that number every message, injects one [Fault]
// after another on a schedule that a seed determines, and checks five oracles:
//
//   - P, prefix: what each side of a session received is what the other sent, in
//     order, once and without a gap; when everything is calm again, all of it,
//     unless the fault explains that it was closed: because the fault hit its gateway or
//     its instance.
//   - C, counts: within two lease TTLs the registry is consistent (registry.Check)
//     and counts as many pins as there are sessions.
//   - M, memory: the resident memory of every node and redis-server stays under its
//     bound, also of those that are killed.
//   - R, recovery: all sessions make progress soon after the fault is over.
//
// The result is a [Report], a row for each fault.
package chaos
