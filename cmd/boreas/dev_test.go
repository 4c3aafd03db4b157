package main

import (
	"bufio"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestDevEndsSoon interrupts `boreas dev` while a client is connected and a request was
// answered. It takes a second or two; a machine that has other work makes it longer.
func TestDevEndsSoon(t *testing.T) {
	const limit, tries = 10 * time.Second, 3
	for try := range tries {
		took := interruptDev(t)
		if took <= limit {
			return
		}
		t.Logf("try %d: ended %v after Ctrl-C", try+1, took)
	}
	t.Errorf("no try ended within %v", limit)
}

// interruptDev runs the program, interrupts it and returns how long it took to end.
func interruptDev(t *testing.T) time.Duration {
	t.Helper()
	dev := exec.CommandContext(t.Context(), "boreas", "dev", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0")
	stdout, err := dev.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	var url string
	for lines := bufio.NewScanner(stdout); url == "" && lines.Scan(); {
		if at := strings.Index(lines.Text(), "ws://"); at >= 0 {
			url = lines.Text()[at:]
		}
	}
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatalf("%q: %v", url, err)
	}
	defer conn.Close()
	defer resp.Body.Close()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"path":"/echo","id":"1"}`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.ReadMessage(); err != nil {
		t.Fatal(err)
	}

	start := time.Now()
	if err := dev.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	// The client is told, and answers as browsers do.
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("the client read %v, want close 1012", err)
	}
	if err := dev.Wait(); err != nil {
		t.Errorf("boreas dev: %v", err)
	}
	return time.Since(start)
}

// TestDevRunsTwice: the second demo on a machine has its push API on a free port.
func TestDevRunsTwice(t *testing.T) {
	for range 2 {
		l, err := new(devCmd).listenInternal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if at := l.Addr().(*net.TCPAddr); !at.IP.IsLoopback() {
			t.Errorf("the push API listens on %v", at)
		}
	}
}
