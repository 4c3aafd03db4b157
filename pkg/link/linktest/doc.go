// Package linktest tests links and the buses under them.
//
// [Network] is a bus in memory that can lose, repeat, delay and reorder datagrams
// and cut nodes off from each other. [Run] is the suite that every [link.Bus] must
// pass: the memory bus passes it, and so does the one on Redis.
//
//	func TestConformance(t *testing.T) {
//		network := linktest.NewNetwork()
//		linktest.Run(t, linktest.Harness{New: func(t *testing.T) link.Bus {
//			return linktest.Start(t, network, "")
//		}})
//	}
//
// # Guarantees
//
// Without faults a Network delivers everything, in the order of publication, and
// reports the true number of subscribers. It works in a testing/synctest bubble.
//
// # Not guaranteed
//
// With faults, nothing: any datagram may be lost, although the number of
// subscribers was positive, as it may be with Redis.
//
// # Lifecycle and concurrency
//
// [Bus.Run] runs the writer of one bus; each subscription has a goroutine that
// [link.Subscription] Close ends. All methods may be called from any goroutine.
package linktest
