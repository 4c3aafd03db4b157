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
	"time"

	"github.com/gorilla/websocket"
)

// trafficFaults lose, repeat and delay single datagrams and calls.
func trafficFaults() []Fault {
	return []Fault{
		{Number: 31, Name: "a node's connections to Redis break, with what is on its way", Backend: Standalone, inject: loseTraffic},
		{Number: 32, Name: "every datagram twice", Backend: Standalone, inject: repeatDatagrams},
		{Number: 33, Name: "pins of a killed gateway arrive after its lease", Backend: Standalone,
			codes: []int{killed}, node: true, inject: latePins},
	}
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
	client := e.redis().Client()
	sub := client.PSubscribe(ctx, "bo:"+namespace+":ch:{*}")
	defer func() { _ = sub.Close() }()
	if _, err := sub.Receive(ctx); err != nil {
		return fmt.Errorf("subscribe to the nodes' channels: %w", err)
	}
	repeated := 0
	ours := map[string]struct{}{} // repetitions that have not come back
	messages, end := sub.Channel(), time.After(3*time.Second)
	for {
		select {
		case m := <-messages:
			if _, ok := ours[m.Payload]; ok {
				delete(ours, m.Payload)
				continue
			}
			ours[m.Payload] = struct{}{}
			if err := client.Publish(ctx, m.Channel, m.Payload).Err(); err != nil {
				return fmt.Errorf("repeat a datagram: %w", err)
			}
			repeated++
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
	calls, err := e.recordPins(ctx, g.Name, func() error { return e.pinOne(ctx, g.URL()) })
	if err != nil {
		return err
	}
	if err := e.takeGateway(i).Kill(); err != nil {
		return err
	}
	if err := e.startGateway(ctx, i); err != nil {
		return err
	}
	client := e.redis().Client()
	for _, c := range calls {
		gone := until(ctx, patience, func() bool {
			n, err := client.Exists(ctx, c.pins).Result()
			return err == nil && n == 0 && client.ZScore(ctx, c.leases, c.member).Err() != nil
		})
		if !gone {
			return nil // the oracle of the counts says so
		}
		if err := e.do(ctx, c.args...); err != nil {
			return err
		}
	}
	return nil
}

// pinOne has a client come and send its first message.
func (e *experiment) pinOne(ctx context.Context, url string) error {
	ws, _, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	if err != nil {
		return err
	}
	defer func() { _ = ws.Close() }()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"path":"/count","id":"1"}`)); err != nil {
		return err
	}
	_, _, err = ws.ReadMessage()
	return err
}

// pinCall is a run of the script pins.lua.
type pinCall struct {
	args                 []any
	leases, pins, member string
}

// recordPins returns the calls with which a gateway pins sockets while f runs.
func (e *experiment) recordPins(ctx context.Context, gateway string, f func() error) ([]pinCall, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", e.redis().Addr())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		return nil, err
	}
	monitor := bufio.NewScanner(conn)
	monitor.Buffer(nil, 64<<20) // datagrams pass, too
	if !monitor.Scan() || monitor.Text() != "+OK" {
		return nil, fmt.Errorf("MONITOR: %q, %w", monitor.Text(), monitor.Err())
	}
	if err := f(); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, err
	}
	for monitor.Scan() {
		if c, ok := parsePinCall(monitor.Text(), gateway); ok {
			return []pinCall{c}, nil
		}
	}
	return nil, fmt.Errorf("gateway %s did not pin: %w", gateway, monitor.Err())
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
