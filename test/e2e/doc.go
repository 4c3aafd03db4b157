// Package e2e holds the end-to-end tests: gateways and service instances as
// separate processes, a real redis-server, and WebSocket clients that check what
// a user of Boreas may rely on.
package e2e
