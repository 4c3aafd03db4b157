// Package redistest runs a real redis-server for tests, benchmarks and chaos runs,
// and does to it what operations do: kill it, freeze it, start it again.
//
//	func TestX(t *testing.T) {
//		srv := redistest.Start(t, redistest.Config{})
//		bp, err := backplane.Open(ctx, srv.URL(), backplane.Config{})
//		...
//		srv.Kill()    // kill -9: clients see their connections break
//		srv.Restart() // same address, empty unless Config.Args make it persist
//	}
//
// [StartSentinel] runs a master with replicas and sentinels, [StartCluster] a cluster
// of three masters with a replica each.
//
// # Guarantees
//
// [Start] and [Run] return when the server answers PING. The server listens on a
// unix socket in a short directory of its own, and on TCP if asked; it keeps both
// addresses over [Server.Restart]. It ends with the test or [Server.Close], and on
// Linux also when the process that started it dies.
//
// # Not guaranteed
//
// Nothing is persisted unless Config.Args say so: a restarted server is empty.
//
// # Lifecycle and concurrency
//
// A Server's methods may be called from any goroutine; those that start and end
// the process wait for each other.
package redistest
