// Package cluster runs gateways and service instances as processes of their own,
// for the end-to-end tests, the benchmarks and the fault tests.
//
// [Build] compiles the programs once. A [Process] is one run of one of them: it
// can be asked to stop, killed, frozen and thawed, and the lines that it prints
// are kept. [StartGateway] and [StartProbe] return when the process serves.
//
// Every process is told to end when its parent does, so that an aborted run
// leaves nothing behind.
package cluster
