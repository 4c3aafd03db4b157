// Package compose tests docker-compose.yml on a real Docker engine: it builds the
// images, brings the stack up, and talks to it through its load balancer while
// gateways are added, restarted, stopped and cut off. It has tests only, which run
// when BOREAS_COMPOSE_TEST is set (`make compose`; `make compose-short` leaves out what takes long).
//
// It needs no image registry. A public image that cannot be pulled is replaced by a
// stand-in of the same name, made of Debian's package of the same program and of the
// Go installation that runs the test. So is Docker Compose, where it is missing. The
// stand-ins are removed at the end, unless BOREAS_COMPOSE_KEEP is set.
package compose
