package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/test/cluster"
	"github.com/boreas-ws/boreas/test/probe"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		_ = os.RemoveAll(buildDir)
		os.Exit(status)
	}))
}

var buildDir string

// build compiles the programs, once for all tests.
var build = sync.OnceValues(func() (cluster.Programs, error) {
	var err error
	if buildDir, err = os.MkdirTemp("", "boreas-chaos-"); err != nil {
		return cluster.Programs{}, err
	}
	return cluster.Build(context.Background(), buildDir)
})

// Short, seeded runs of the faults that take little time.
func TestShortRun(t *testing.T) {
	for backend, faults := range map[string][]int{
		Standalone: {1, 2, 3, 6, 7, 8, 10, 11, 12, 20, 22, 24, 26, 28, 29, 31, 32, 33, 34},
		Sentinel:   {13},
		Cluster:    {17, 18, 19},
	} {
		t.Run(backend, func(t *testing.T) {
			programs, err := build()
			if err != nil {
				t.Fatal(err)
			}
			report, err := Run(t.Context(), Config{Programs: programs, Seed: 1, Rounds: 1, Sessions: 12, Faults: faults, Slack: 3})
			if err != nil {
				t.Fatal(err)
			}
			var table bytes.Buffer
			if err := report.WriteTable(&table); err != nil {
				t.Fatal(err)
			}
			t.Log("\n" + table.String())
			if !report.OK() {
				t.Error("a promise was broken")
			}
		})
	}
}

// What is pushed is judged by pusher, from the first push that began when the session
// was a member.
func TestPushes(t *testing.T) {
	var p pushes
	now := time.Now()
	take := func(from string, number int, began time.Duration) {
		p.take(probe.Pushed{Numbered: probe.Numbered{From: from, Number: number}, Began: now.Add(began), Before: now.Add(began - 1)})
	}
	take("a", 2, 1)
	take("a", 4, 2)
	p.since = now.Add(3)
	take("a", 6, 3)
	take("a", 8, 4)
	take("b", 2, 5)
	take("a", 9, 6)
	take("b", 4, 7)
	take("a", 9, 6)
	take("a", 12, 8)
	take("a", 11, 8)
	take("c", 7, 6) // the one before is owed, too
	var v verdict
	v.gateway = "gw0-1"
	p.judge(&v)
	var got []string
	for _, m := range v.unpushed {
		got = append(got, fmt.Sprint(m.From, m.Number, " at ", m.gateway))
	}
	slices.Sort(got)
	if want := []string{"a10 at gw0-1", "b1 at gw0-1", "b3 at gw0-1", "c6 at gw0-1"}; !slices.Equal(got, want) || v.Duplicated != 1 || v.Reordered != 1 {
		t.Errorf("missing %v, %d duplicated, %d reordered", got, v.Duplicated, v.Reordered)
	}
	if list := untold(v.unpushed); len(list) != 4 {
		t.Errorf("%q", list)
	}
	for at, want := range map[time.Duration][]string{
		2: nil, // before the session knew that it is a member
		3: {"d"},
		6: {"c", "d"},
		7: {"b", "c", "d"},
	} {
		if got := p.lacks([]string{"a", "b", "c", "d"}, now.Add(at)); !slices.Equal(got, want) {
			t.Errorf("after %d it lacks %q; want %q", at, got, want)
		}
	}
}

// Every kind of damage turns a report's verdict.
func TestReportFails(t *testing.T) {
	victim := hits{{node: "gw0-1"}: time.Time{}}
	good := func() Row { return Row{Injected: 1, Recoveries: []time.Duration{time.Second}} }
	if row := good(); !row.OK() {
		t.Fatal("a row without damage fails")
	}
	cases := map[string]func(*Row){
		"lost":                func(r *Row) { r.judge(verdict{Damage: probe.Damage{Lost: 1}}) },
		"duplicated":          func(r *Row) { r.judge(verdict{Damage: probe.Damage{Duplicated: 1}}) },
		"reordered":           func(r *Row) { r.judge(verdict{Damage: probe.Damage{Reordered: 1}}) },
		"unexplained":         func(r *Row) { r.judge(verdict{closed: true, code: killed}, cause{Fault: Fault{refuses: true}}) },
		"instance lost":       func(r *Row) { r.hear([]wrong{{damage: probe.Damage{Lost: 1}}}) },
		"instance duplicated": func(r *Row) { r.hear([]wrong{{damage: probe.Damage{Duplicated: 1}}}) },
		"instance reordered":  func(r *Row) { r.hear([]wrong{{what: "late", damage: probe.Damage{Lost: -1, Reordered: 1}}}) },
		"bystander": func(r *Row) {
			r.judge(verdict{closed: true, code: killed, gateway: "gw1-2"}, cause{Fault: Fault{codes: []int{killed}, node: true}, hits: victim})
		},
		"broken": func(r *Row) { r.judge(verdict{broken: []string{"internal: oops"}}) },
		"refused": func(r *Row) {
			r.judge(verdict{closed: true, refused: "unavailable"}, cause{Fault: Fault{codes: []int{killed}}})
		},
		"no route":         func(r *Row) { r.judge(verdict{closed: true, refused: "no_route"}, cause{Fault: Fault{refuses: true}}) },
		"slow":             func(r *Row) { r.recovered(Fault{}, MaxRecovery+1) },
		"slow node":        func(r *Row) { r.recovered(Fault{node: true}, MaxNodeRecovery+1) },
		"never injected":   func(r *Row) { r.Injected = 0 },
		"large node":       func(r *Row) { r.took(MaxResident+1, MaxRedisResident) },
		"large Redis":      func(r *Row) { r.took(MaxResident, MaxRedisResident+1) },
		"registry or node": func(r *Row) { r.Problems = append(r.Problems, "wrong") },
	}
	for name, damage := range cases {
		row := good()
		if damage(&row); row.OK() {
			t.Errorf("%s: the row is OK", name)
		}
	}
	slow := good()
	slow.judge(verdict{closed: true, refused: "unavailable"}, cause{away: gateway.DefaultPinTimeout})
	slow.judge(verdict{closed: true, code: restarts}, cause{away: link.DefaultResetAfter})
	if len(slow.Problems) != 2 {
		t.Errorf("the choice of a master was quick, but explains: %+v", slow)
	}
	row := good()
	row.judge(verdict{closed: true, refused: "unavailable"}, cause{away: gateway.DefaultPinTimeout + 1})
	row.judge(verdict{closed: true, code: restarts}, cause{away: link.DefaultResetAfter + 1})
	if !row.OK() {
		t.Errorf("the choice of a master took longer than is waited for: %+v", row)
	}
	row = good()
	row.judge(verdict{closed: true, code: killed, gateway: "gw0-1"}, cause{}, cause{Fault: Fault{codes: []int{killed}}, hits: victim})
	row.judge(verdict{closed: true, refused: "unavailable"}, cause{Fault: Fault{refuses: true}}, cause{})
	row.recovered(Fault{node: true}, MaxRecovery+1)
	row.took(MaxResident, MaxRedisResident)
	if !row.OK() || row.Refused != 1 {
		t.Errorf("what the faults explain counts: %+v", row)
	}
}

func TestProxyWeather(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	p, err := NewProxy("tcp", echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		p.Close()
		_ = echo.Close()
		served.Wait()
	}()
	connect := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c := connect()
	const much, little = patience, 100 * time.Millisecond // for what must come, and for what must not
	exchange := func(what string, within time.Duration) error {
		if err := c.SetDeadline(time.Now().Add(much)); err != nil {
			return err
		}
		if what != "" { // which a busy machine must not cut short
			if _, err := io.WriteString(c, what); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
			return err
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if string(got) != "hello" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	}
	for name, w := range map[string]Weather{
		"fair": {}, "delay": {Delay: 50 * time.Millisecond, Jitter: time.Millisecond}, "trickle": {Trickle: true},
	} {
		p.Set(w)
		start := time.Now()
		if err := exchange("hello", much); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took < 2*w.Delay {
			t.Errorf("%s: took %v", name, took)
		}
	}
	for name, w := range map[string]Weather{"up": {HoldUp: true}, "down": {HoldDown: true}} {
		p.Set(w)
		if err := exchange("hello", little); !os.IsTimeout(err) {
			t.Errorf("hold %s: %v; want nothing to come", name, err)
		}
		p.Set(Weather{})
		if err := exchange("", much); err != nil {
			t.Errorf("hold %s, then fair: %v; want what was held", name, err)
		}
	}
	for name, strand := range map[string][2]bool{"up": {true, false}, "down": {false, true}, "both": {true, true}} {
		p.Strand(strand[0], strand[1])
		if err := exchange("hello", little); !os.IsTimeout(err) {
			t.Errorf("strand %s: %v; want nothing to come", name, err)
		}
		c = connect()
		if err := exchange("hello", much); err != nil {
			t.Errorf("strand %s: %v on a new connection", name, err)
		}
	}
}

// Each fault has a number and a name of its own.
func TestFaultsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Faults() {
		for _, key := range []string{fmt.Sprint(f.Number), f.Name} {
			if seen[key] || key == "" {
				t.Errorf("fault %d %q is listed twice", f.Number, f.Name)
			}
			seen[key] = true
		}
	}
	if pause(canceled(), time.Hour) {
		t.Error("pause ignores its context")
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestWriteDocs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	r := &Report{Rows: []Row{{Fault: Fault{Number: 7, Name: "seven", Backend: Standalone}, Injected: 1}}}
	if err := os.WriteFile(path, []byte("no table"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteDocs(path); err == nil {
		t.Error("a file without markers was accepted")
	}
	if err := os.WriteFile(path, []byte("head\n"+tableStart+"\nold\n"+tableEnd+"\ntail\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // writing again replaces
		if err := r.WriteDocs(path); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	if !strings.HasPrefix(got, "head\n") || !strings.HasSuffix(got, "\ntail\n") ||
		strings.Count(got, "| 7 | seven |") != 1 || strings.Contains(got, "old") {
		t.Errorf("document:\n%s", got)
	}
}
