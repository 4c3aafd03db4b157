// Package compose tests docker-compose.yml on a real Docker engine: it builds the
// images, brings the stack up, and talks to it through its load balancer while
// gateways are added, restarted, stopped and cut off. It has tests only, which run
// when BOREAS_COMPOSE_TEST is set (`make compose`).
//
// It needs no image registry. A public image that cannot be pulled is replaced by a
// stand-in, made of Debian's package of the same program and of the Go installation
// that runs the test. So is Docker Compose, where it is missing. A stand-in has the name
// of the public image only while the test runs; afterwards it stays on the engine as
// boreas-stand-in, for the next time. `docker image prune --all --filter
// label=boreas.stand-in` removes it.
package compose
