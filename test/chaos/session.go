package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/wire"
	"github.com/boreas-ws/boreas/test/cluster"
	"github.com/boreas-ws/boreas/test/probe"
)

const (
	// window is how many messages of a session may wait for their reply.
	window = 4
	// pace is the least time between two messages of a session.
	pace = 20 * time.Millisecond
	// dialTimeout bounds one attempt to connect, the first reply included.
	dialTimeout = 15 * time.Second
	// impatience is how long a client that wants to leave waits for answers.
	impatience = time.Second
)

// session is one connection of a client: it numbers what it sends and checks the
// numbers of what it gets.
type session struct {
	gateway string // its node
	ws      *websocket.Conn

	mu       sync.Mutex
	sent     int            // messages sent, numbered from 1
	replies  probe.Sequence // by the number of the message they answer
	messages probe.Sequence // all from the instance, by its own numbers
	pushed   pushes
	member   bool      // is, or has asked to be, of the user and group that are pushed to
	progress time.Time // when the last message came; zero before the first
	instance string    // the node of the instance that answers; none before the first answer
	broken   []string  // what no numbering explains
	refused  string    // the code with which the first message was refused
	paused   bool      // sends nothing new
	leaving  bool      // sends nothing new, because the client is about to close
	closed   bool
	code     int    // of the close frame; 1006 for a connection that broke
	reason   string // of the close frame
	ended    time.Time

	slots chan struct{} // a token for each message that may be sent
	done  chan struct{} // closed when the session is over
}

// message is what instances send: the number of the client's message that it
// answers, 0 for none, the instance's own number and its node. Errors are the gateway's.
type message struct {
	ID   string `json:"id"`
	Path string `json:"path"`
	Data struct {
		N int `json:"n"`
		S int `json:"s"`

		By string `json:"by"`
		probe.Pushed
		failure
	} `json:"data"`
}

const (
	// memberID is the id of the message that asks for membership.
	memberID = "member"
	// crowdName is the user and the group that instances push to.
	crowdName = "crowd"
)

// failure is the data of an error.
type failure struct {
	Error string `json:"error"`
	Code  string `json:"code"`
	// RetryAfter is when the client may try again, in seconds.
	RetryAfter float64 `json:"retry_after"`
}

// advised reports whether it is the one that a new socket gets while Redis is away.
func (f failure) advised() bool { return f.Code == string(wire.CodeUnavailable) && f.RetryAfter > 0 }

func dial(ctx context.Context, url string) (*websocket.Conn, error) {
	ws, resp, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	if resp != nil {
		_ = resp.Body.Close()
	}
	return ws, err
}

// openSession connects a client and starts its traffic.
func openSession(ctx context.Context, g *cluster.Gateway) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	ws, err := dial(ctx, g.URL())
	if err != nil {
		return nil, err
	}
	s := &session{
		gateway: g.Name, ws: ws,
		slots: make(chan struct{}, window), done: make(chan struct{}),
	}
	s.slots <- struct{}{} // the others follow with the first answer: a second message must not pass where the first was refused
	return s, nil
}

// run carries on until ctx or the connection ends.
func (s *session) run(ctx context.Context) {
	defer close(s.done)
	var writer sync.WaitGroup
	writing, stop := context.WithCancel(ctx)
	writer.Go(func() { s.write(writing) })
	end := context.AfterFunc(ctx, func() { _ = s.ws.Close() })
	s.read(ctx)
	end()
	stop()
	_ = s.ws.Close()
	writer.Wait()
}

func (s *session) write(ctx context.Context) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if s.joins() && s.ws.WriteMessage(websocket.TextMessage, []byte(
			`{"path":"/member","id":"`+memberID+`","data":{"user":"`+crowdName+`","group":"`+crowdName+`"}}`)) != nil {
			return // as below
		}
		select {
		case <-s.slots:
		case <-ctx.Done():
			return
		}
		n, ok := s.number()
		if !ok {
			s.release()
			continue
		}
		if s.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"path":"/seq","id":"%d","data":{"n":%d}}`, n, n)) != nil {
			return // the reader learns why
		}
	}
}

// joins reports whether to ask for membership now: when the socket has a pin.
func (s *session) joins() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.member || s.progress.IsZero() || s.paused || s.leaving {
		return false
	}
	s.member = true
	return true
}

// number returns that of the next message; none while the session shall be silent.
func (s *session) number() (n int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused || s.leaving {
		return 0, false
	}
	s.sent++
	return s.sent, true
}

func (s *session) read(ctx context.Context) {
	for {
		_, b, err := s.ws.ReadMessage()
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.closed, s.code, s.ended = ctx.Err() == nil, websocket.CloseAbnormalClosure, time.Now()
			var ce *websocket.CloseError
			if errors.As(err, &ce) {
				s.code, s.reason = ce.Code, ce.Text
			}
			return
		}
		s.take(b)
	}
}

// take checks one message.
func (s *session) take(b []byte) {
	var m message
	err := json.Unmarshal(b, &m)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.broken = append(s.broken, fmt.Sprintf("not an answer: %q", b))
		return
	case m.Path == "/pushed":
		s.pushed.take(m.Data.Pushed)
		return
	case m.ID == memberID:
		if s.member = m.Data.Error == ""; s.member { // else it asks again: Redis may be away
			s.pushed.since = time.Now()
		}
		return
	case m.Data.Error != "" && s.messages.Last == 0:
		// The message was refused, and said so: it did not reach the instance, so the
		// numbers after it would have a gap. The client starts anew.
		s.refused = m.Data.Code
		if !m.Data.advised() {
			s.broken = append(s.broken, fmt.Sprintf("refused with %q", b))
		}
		_ = s.ws.Close()
		return
	case m.Data.Error != "":
		s.broken = append(s.broken, m.Data.Code+": "+m.Data.Error)
		return
	}
	if s.instance == "" {
		s.instance = m.Data.By
	} else if s.instance != m.Data.By {
		s.broken = append(s.broken, fmt.Sprintf("pinned to %s, but answered by %s", s.instance, m.Data.By))
	}
	if s.progress.IsZero() {
		for range window - 1 {
			s.release()
		}
	}
	s.progress = time.Now()
	s.messages.Take(m.Data.S)
	if m.Data.N == 0 {
		return
	}
	s.replies.Take(m.Data.N)
	s.release()
}

// release lets another message be sent.
func (s *session) release() {
	select {
	case s.slots <- struct{}{}:
	default: // after a repeated reply; the sequence knows
	}
}

// pause stops or resumes the sending of new messages.
func (s *session) pause(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = on
}

// visit ends the session after a while as a client does that has what it wanted: with
// a goodbye, when everything that it sent is answered, or when that takes too long.
func (s *session) visit(ctx context.Context, stay time.Duration) {
	if !s.wait(ctx, stay) {
		return
	}
	for waited := time.Duration(0); !s.leave() || !s.settled() && waited < impatience; waited += pace {
		if !s.wait(ctx, pace) {
			return
		}
	}
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = s.ws.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second)) // else the reader learns why
}

// leave stops the sending of new messages for good, unless it is paused just now.
func (s *session) leave() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = s.leaving || !s.paused
	return s.leaving
}

// wait waits for d; it reports false if the session or ctx ended before.
func (s *session) wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.done:
	case <-ctx.Done():
	}
	return false
}

// pinned reports whether the session has a pin: it got an answer.
func (s *session) pinned() bool { return !s.progressed().IsZero() }

// settled reports whether everything that was sent has been answered, and all that
// the instance sends for it has come.
func (s *session) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed || s.replies.Last == s.sent && s.messages.Last == s.sent+s.sent/3
}

// progressed returns when the last message came; zero before the first.
func (s *session) progressed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress
}
