package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/boreas-ws/boreas/internal/redistest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"boreas": main})
}

// TestScripts runs the command lines in testdata/script. Each script finds a
// redis-server at $REDIS, in which it has a namespace of its own, and free ports in
// $PORT1 to $PORT5.
func TestScripts(t *testing.T) {
	redis := redistest.Start(t, redistest.Config{TCP: true, Password: "s3cret"})
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("REDIS", redis.TCPURL())
			env.Setenv("REDIS_UNIX", redis.URL())
			env.Setenv("BOREAS_NAMESPACE", filepath.Base(env.WorkDir)) // "script-push"
			for i := 1; i <= 5; i++ {
				port, err := redistest.FreePort()
				if err != nil {
					return err
				}
				env.Setenv("PORT"+strconv.Itoa(i), strconv.Itoa(port))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"get":       scriptGet,
			"frames":    scriptFrames,
			"hold":      scriptHold,
			"await":     scriptAwait,
			"until":     scriptUntil,
			"terminate": scriptTerminate,
			"stopwatch": scriptStopwatch,
		},
	})
}

// patience is how long a script waits for what it expects.
const patience = 30 * time.Second

// eventually retries try until it succeeds.
func eventually(ts *testscript.TestScript, try func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("after %v: %v", patience, err)
		}
	}
}

// scriptGet waits until a URL answers with a status and a text: get URL STATUS [TEXT].
func scriptGet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: get URL STATUS [TEXT or ~REGEXP]")
	}
	url, status, text := args[0], args[1], strings.Join(args[2:], " ")
	has := func(body string) bool { return strings.Contains(body, text) }
	if pattern, ok := strings.CutPrefix(text, "~"); ok {
		has = regexp.MustCompile(pattern).MatchString
	}
	eventually(ts, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if strconv.Itoa(resp.StatusCode) != status || !has(string(body)) {
			return &unexpectedError{want: status + " " + text, got: resp.Status + " " + string(body)}
		}
		return nil
	})
}

// unexpectedError is an answer that is not the awaited one.
type unexpectedError struct{ want, got string }

func (e *unexpectedError) Error() string { return "want " + e.want + ", got " + e.got }

// scriptFrames sends one message on a new WebSocket and waits for an answer:
// frames URL MESSAGE TEXT.
func scriptFrames(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: frames URL MESSAGE TEXT")
	}
	eventually(ts, func(ctx context.Context) error {
		conn, resp, err := websocket.DefaultDialer.DialContext(ctx, args[0], nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		defer resp.Body.Close()
		if err := conn.WriteMessage(websocket.TextMessage, []byte(args[1])); err != nil {
			return err
		}
		deadline, _ := ctx.Deadline()
		if err := conn.SetReadDeadline(deadline); err != nil {
			return err
		}
		_, answer, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		if !strings.Contains(string(answer), args[2]) {
			return &unexpectedError{want: args[2], got: string(answer)}
		}
		return nil
	})
}

// scriptHold connects a client that stays, and answers what the protocol asks for. What
// it gets, and at last why it was closed, are the lines of a file: hold URL [FILE].
func scriptHold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: hold URL [FILE]")
	}
	file := io.Discard
	if len(args) == 2 {
		f, err := os.Create(ts.MkAbs(args[1]))
		ts.Check(err)
		ts.Defer(func() { _ = f.Close() })
		file = f
	}
	conn, resp, err := websocket.DefaultDialer.Dial(args[0], nil)
	ts.Check(err)
	ts.Check(resp.Body.Close())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			_, message, err := conn.ReadMessage()
			if err != nil {
				fmt.Fprintln(file, err)
				return
			}
			fmt.Fprintf(file, "%s\n", message)
		}
	}()
	ts.Defer(func() {
		_ = conn.Close()
		<-gone
	})
}

// scriptAwait waits until a line of a file that grows matches: await FILE REGEXP.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	line := regexp.MustCompile("(?m)" + args[1])
	eventually(ts, func(context.Context) error {
		if text := ts.ReadFile(args[0]); !line.MatchString(text) {
			return &unexpectedError{want: args[1], got: text}
		}
		return nil
	})
}

// scriptUntil runs a program until what it prints matches: until REGEXP PROGRAM [ARG...].
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM [ARG...]")
	}
	line := regexp.MustCompile("(?m)" + args[0])
	eventually(ts, func(context.Context) error {
		err := ts.Exec(args[1], args[2:]...)
		if text := ts.ReadFile("stdout"); err != nil || !line.MatchString(text) {
			return &unexpectedError{want: args[0], got: fmt.Sprint(text, ts.ReadFile("stderr"), err)}
		}
		return nil
	})
}

// scriptTerminate sends SIGTERM, which testscript's kill does not know, to the
// program that was started last: terminate.
func scriptTerminate(ts *testscript.TestScript, neg bool, args []string) {
	running := ts.BackgroundCmds()
	if neg || len(args) != 0 || len(running) == 0 {
		ts.Fatalf("usage: terminate, with a program in the background")
	}
	ts.Check(running[len(running)-1].Process.Signal(syscall.SIGTERM))
}

// scriptStopwatch measures: stopwatch start, then stopwatch max DURATION.
func scriptStopwatch(ts *testscript.TestScript, neg bool, args []string) {
	const file = "stopwatch"
	switch {
	case !neg && len(args) == 1 && args[0] == "start":
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(time.Now().Format(time.RFC3339Nano)), 0o600))
	case !neg && len(args) == 2 && args[0] == "max":
		limit, err := time.ParseDuration(args[1])
		ts.Check(err)
		start, err := time.Parse(time.RFC3339Nano, ts.ReadFile(file))
		ts.Check(err)
		if took := time.Since(start); took > limit {
			ts.Fatalf("took %v; the limit is %v", took, limit)
		}
	default:
		ts.Fatalf("usage: stopwatch start | stopwatch max DURATION")
	}
}
