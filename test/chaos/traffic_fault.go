package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/test/cluster"
)

// trafficFaults lose, repeat and delay single datagrams and calls.
func trafficFaults() []Fault {
	return []Fault{
		{Number: 31, Name: "a node's connections to Redis break, with what is on its way", Backend: Standalone, inject: loseTraffic},
		{Number: 32, Name: "every datagram twice", Backend: Standalone, anywhere: true, inject: repeatDatagrams},
		{Number: 33, Name: "pins of a killed gateway arrive after its lease", Backend: Standalone, anywhere: true,
			codes: []int{killed}, node: true, inject: latePins},
		{Number: 34, Name: "a node's traffic with Redis held, one direction or both", Backend: Standalone, inject: holdTraffic},
	}
}

// holdTraffic lets traffic between a node and Redis gather, and pass after a while.
func holdTraffic(ctx context.Context, e *experiment) error {
	held := []Weather{{HoldUp: true}, {HoldDown: true}, {HoldUp: true, HoldDown: true}}
	proxy := e.anyProxy()
	proxy.Set(held[e.rand.IntN(len(held))])
	pause(ctx, e.between(500*time.Millisecond, 3*time.Second))
	proxy.Set(Weather{})
	return nil
}

// loseTraffic lets traffic between a node and Redis gather, and loses it.
func loseTraffic(ctx context.Context, e *experiment) error {
	for _, p := range e.processes() {
		proxy := e.redis().proxy(p.Name)
		proxy.Set(Weather{HoldUp: true, HoldDown: true})
		pause(ctx, e.between(200*time.Millisecond, 400*time.Millisecond))
		proxy.Break()
		proxy.Set(Weather{})
	}
	return nil
}

// repeatDatagrams publishes what the nodes publish once more.
func repeatDatagrams(ctx context.Context, e *experiment) error {
	ctx, cancel := context.WithCancel(ctx)
	var taps sync.WaitGroup
	defer taps.Wait()
	defer cancel()
	messages := make(chan *redis.Message)
	subscribe, publish := e.backend.client().Subscribe, e.backend.client().Publish
	if _, sharded := e.backend.(*clusterBackend); sharded {
		subscribe, publish = e.backend.client().SSubscribe, e.backend.client().SPublish
	}
	for _, p := range e.processes() {
		// A channel at a time, because a cluster has each on a server of its own.
		sub := subscribe(ctx, channelOf(p.Name))
		taps.Go(func() {
			defer func() { _ = sub.Close() }()
			defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
			for {
				m, err := sub.ReceiveMessage(ctx)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					pause(ctx, 10*time.Millisecond) // the fault before took the connection with it
					continue
				}
				select {
				case messages <- m:
				case <-ctx.Done():
				}
			}
		})
	}
	repeated := 0
	ours := map[string]struct{}{} // repetitions that have not come back
	for end := time.After(3 * time.Second); ; {
		select {
		case m := <-messages:
			if _, ok := ours[m.Payload]; ok {
				delete(ours, m.Payload)
				continue
			}
			if publish(ctx, m.Channel, m.Payload).Err() == nil {
				ours[m.Payload] = struct{}{}
				repeated++
			}
		case <-end:
			if repeated == 0 {
				return errors.New("no datagram came to be repeated")
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// latePins kills a gateway, waits until the others have removed what it left, and
// lets the calls arrive with which it had pinned sockets: as from a connection that
// was stuck in the network.
func latePins(ctx context.Context, e *experiment) error {
	i := e.rand.IntN(len(e.gateways))
	g := e.gateways[i]
	late, err := e.recordPin(ctx, g)
	if err != nil {
		return err
	}
	if err := e.replaceGateway(ctx, i); err != nil {
		return err
	}
	client := e.backend.client()
	gone := until(ctx, patience, func() bool {
		n, err := client.Exists(ctx, late.pins).Result()
		return err == nil && n == 0 && errors.Is(client.ZScore(ctx, late.leases, late.member).Err(), redis.Nil)
	})
	if !gone {
		return nil // the oracle of the counts says so
	}
	if !until(ctx, dialTimeout, func() bool { err = client.Do(ctx, late.args...).Err(); return err == nil }) {
		return fmt.Errorf("repeat a call of %s: %w", g.Name, err)
	}
	return nil
}

// pinCall is a run of the script pins.lua.
type pinCall struct {
	args                 []any
	leases, pins, member string
}

// recordPin has a client come to a gateway, and returns the call that pins it.
func (e *experiment) recordPin(ctx context.Context, gateway *cluster.Gateway) (pinCall, error) {
	owner, err := e.backend.owner(ctx, serviceKey(""))
	if err != nil {
		return pinCall{}, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", owner.Addr())
	if err != nil {
		return pinCall{}, err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		return pinCall{}, err
	}
	monitor := bufio.NewScanner(conn)
	monitor.Buffer(nil, 64<<20) // datagrams pass, too
	if !monitor.Scan() || monitor.Text() != "+OK" {
		return pinCall{}, fmt.Errorf("MONITOR: %q, %w", monitor.Text(), monitor.Err())
	}
	g, err := e.guest(ctx, gateway.URL())
	if err != nil {
		return pinCall{}, err
	}
	defer func() { _ = g.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
		return pinCall{}, err
	}
	for monitor.Scan() {
		if c, ok := parsePinCall(monitor.Text(), gateway.Name); ok {
			return c, nil
		}
	}
	return pinCall{}, fmt.Errorf("gateway %s did not pin: %w", gateway.Name, monitor.Err())
}

// parsePinCall reads a line of MONITOR.
func parsePinCall(line, gateway string) (pinCall, bool) {
	// EVALSHA sha 6 instances counts leases clock pins checksums member ttl operation socket...
	const leases, pins, member, operation = 5, 7, 9, 11
	if !strings.Contains(line, `"g:`+gateway+`#`) {
		return pinCall{}, false
	}
	_, command, _ := strings.Cut(line, "] ")
	var args []any
	for command != "" {
		quoted, err := strconv.QuotedPrefix(command)
		if err != nil {
			return pinCall{}, false
		}
		arg, err := strconv.Unquote(quoted)
		if err != nil {
			return pinCall{}, false
		}
		args = append(args, arg)
		command = strings.TrimPrefix(command[len(quoted):], " ")
	}
	if len(args) <= operation || !slices.Contains([]any{"evalsha", "EVALSHA"}, args[0]) || args[operation] != "+" {
		return pinCall{}, false
	}
	return pinCall{args: args, leases: args[leases].(string), pins: args[pins].(string), member: args[member].(string)}, true
}
