package registry

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// script is one Lua script and the name that Redis knows it by.
type script struct {
	name, text, sha string
}

// load reads lua/<name>.lua and puts the named libraries before it.
func load(name string, libraries ...string) *script {
	var text strings.Builder
	for _, part := range append(libraries, name) {
		b, err := luaFiles.ReadFile("lua/" + part + ".lua")
		if err != nil {
			panic(err) // the file is embedded: it is there or the program was not built
		}
		text.Write(b)
	}
	if mutantFence && name == "pins" {
		return newScript(name, strings.Replace(text.String(), "if not lease or tonumber(lease) <= 0 then", "if false then", 1))
	}
	return newScript(name, text.String())
}

func newScript(name, text string) *script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // as above
	return &script{name: name, text: text, sha: hex.EncodeToString(sum[:])}
}

var (
	scriptAnnounce = load("announce", "lib_clock")
	scriptBeat     = load("beat", "lib_clock")
	scriptJoin     = load("join", "lib_clock")
	scriptPins     = load("pins")
	scriptRestore  = load("restore")
	scriptReap     = load("reap", "lib_clock")
	scriptView     = load("view", "lib_clock")
	scriptAudit    = load("audit")

	scriptRouteAnnounce = load("route_announce", "lib_clock", "lib_routes")
	scriptRouteBeat     = load("route_beat", "lib_clock", "lib_routes")
	scriptRouteWithdraw = load("route_withdraw", "lib_clock", "lib_routes")
	scriptRouteView     = load("route_view")

	scriptIndex     = load("index")
	scriptIndexReap = load("index_reap", "lib_clock")
	scriptNames     = load("names", "lib_clock")
	scriptLeased    = load("leased")

	scriptHost  = load("host", "lib_shelf")
	scriptHosts = load("hosts", "lib_shelf")
	scriptMark  = load("mark", "lib_shelf")

	scriptNote = load("note")
)

// call is one run of a script. Every script answers with a list.
type call struct {
	script *script
	keys   []string
	args   []any
	n      int // how many things it is about, for the hooks

	reply []any
	err   error
}

// exec runs calls in one exchange with Redis, which takes CallTimeout at most, and
// returns the first error, an ErrUnavailable. After an error nobody knows which
// scripts ran. A server
// that lost its scripts (SCRIPT FLUSH, restart, failover) gets their text again.
func (r *Registry) exec(ctx context.Context, calls ...*call) error {
	if len(calls) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	start := time.Now()

	r.send(ctx, calls)
	for range maxResends {
		broken := cutOff(calls)
		if len(broken) == 0 || ctx.Err() != nil {
			break
		}
		r.send(ctx, broken)
	}

	took := time.Since(start)
	var first error
	for _, c := range calls {
		if c.err != nil {
			c.err = fmt.Errorf("%w: script %s: %w", ErrUnavailable, c.script.name, c.err)
			if first == nil {
				first = c.err
			}
		}
		if c.script == scriptBeat && c.err == nil {
			r.renewed.Store(int64(start.Sub(clock)))
		}
		r.cfg.Hooks.Call(c.script.name, c.n, took, c.err)
	}
	r.trouble(ctx, first)
	return first
}

// maxResends is how often calls are sent again whose connection broke: connections
// that were idle when Redis closed them are found out only one by one, and there are as
// many as there ever were exchanges at a time.
const maxResends = 10

// repeatable are the scripts that renew a lease, mark, note or read. Running them again right
// after a run whose answer was lost changes nothing.
var repeatable = []*script{scriptBeat, scriptView, scriptRouteBeat, scriptRouteView, scriptHosts, scriptLeased, scriptMark, scriptNote}

// cutOff returns the repeatable calls whose connection broke. A call that timed out
// is not among them: Redis is slow or away, and the next tick comes soon.
func cutOff(calls []*call) (broken []*call) {
	for _, c := range calls {
		gone := errors.Is(c.err, io.EOF) || errors.Is(c.err, net.ErrClosed) ||
			errors.Is(c.err, syscall.ECONNRESET) || errors.Is(c.err, syscall.EPIPE)
		if gone && slices.Contains(repeatable, c.script) {
			broken = append(broken, c)
		}
	}
	return broken
}

// send sends calls, and those again whose script the server does not know, with the
// script's text.
func (r *Registry) send(ctx context.Context, calls []*call) {
	again := r.run(ctx, calls, func(p redis.Cmdable, c *call) *redis.Cmd {
		return p.EvalSha(ctx, c.script.sha, c.keys, c.args...)
	})
	if len(again) > 0 {
		r.run(ctx, again, func(p redis.Cmdable, c *call) *redis.Cmd {
			return p.Eval(ctx, c.script.text, c.keys, c.args...)
		})
	}
}

// run sends calls, in a pipeline if there are several, and returns those whose
// script the server does not know.
func (r *Registry) run(ctx context.Context, calls []*call, send func(redis.Cmdable, *call) *redis.Cmd) []*call {
	commands := make([]*redis.Cmd, len(calls))
	if len(calls) == 1 {
		commands[0] = send(r.cfg.Client, calls[0])
	} else {
		p := r.cfg.Client.Pipeline()
		for n, c := range calls {
			commands[n] = send(p, c)
		}
		_, _ = p.Exec(ctx) // every command has its own error
	}
	var unknown []*call
	for n, c := range calls {
		c.reply, c.err = commands[n].Slice()
		if redis.HasErrorPrefix(c.err, "NOSCRIPT") {
			unknown = append(unknown, c)
		}
	}
	return unknown
}

// trouble logs when Redis stops and starts answering, not each error.
func (r *Registry) trouble(ctx context.Context, err error) {
	switch {
	case err == nil:
		if r.down.CompareAndSwap(true, false) {
			r.log.Info("redis answers again")
		}
	case context.Cause(ctx) == context.Canceled: //nolint:errorlint // the caller gave up: says nothing about Redis
	default:
		if r.down.CompareAndSwap(false, true) {
			r.log.Warn("redis does not answer; the last view stays in force", "error", err)
		}
	}
}

// texts reads a list of strings in a reply. Anything else becomes "".
func texts(v any) []string {
	list, _ := v.([]any)
	out := make([]string, len(list))
	for n, e := range list {
		out[n] = text(e)
	}
	return out
}

// text reads a string in a reply.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// at reads the nth element of a reply; nil if there is none.
func at(reply []any, n int) any {
	if n >= len(reply) {
		return nil
	}
	return reply[n]
}
