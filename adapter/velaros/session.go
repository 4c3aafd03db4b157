package velarosadapter

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/RobertWHurst/velaros"
	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/gateway"
)

// maxIDs is how many ids a session remembers, to tell which of the client's answers
// without a path are for a service. When it is full, the older half is forgotten.
const maxIDs = 1024

// closeTimeout bounds the writing of a close frame to the gateway, which is in the
// same process.
const closeTimeout = time.Second

// session is one Velaros socket as a client of the gateway: a WebSocket in memory.
type session struct {
	once sync.Once
	err  error // of open

	encoding envelope.Encoding
	client   *velaros.Context // sends to the Velaros socket for as long as that lives

	writing sync.Mutex
	ws      *websocket.Conn // written under writing

	mu       sync.Mutex
	new, old map[string]struct{} // ids that the client or a service used lately
}

// used reports whether an id is of a message that passed through the gateway.
func (s *session) used(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, isNew := s.new[id]
	_, isOld := s.old[id]
	return isNew || isOld
}

func (s *session) note(id string) {
	if id == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.new) >= maxIDs/2 {
		s.old, s.new = s.new, nil
	}
	if s.new == nil {
		s.new = map[string]struct{}{}
	}
	s.new[id] = struct{}{}
}

// passThrough is a marshaller for messages that are encoded already.
func passThrough(m *velaros.OutboundMessage) ([]byte, error) {
	b, ok := m.Data.([]byte)
	if !ok {
		return nil, errors.New("velarosadapter: not an encoded message")
	}
	return b, nil
}

// open connects to the gateway on behalf of ctx's socket.
func (s *session) open(ctx *velaros.Context, gw *gateway.Gateway) error {
	// A context of its own: ctx ends with its handler, and services may send at any
	// time. The sub context shares the socket and the message type.
	s.client = velaros.NewSubContextWithNode(ctx, nil)
	s.client.SetMessageMarshaller(passThrough)

	header := ctx.Headers().Clone()
	for name := range header {
		switch {
		case strings.HasPrefix(name, "Sec-Websocket-"), name == "Connection", name == "Upgrade", name == "Origin", name == "Host":
			header.Del(name)
		}
	}
	s.encoding = envelope.JSON
	for _, offer := range strings.Split(ctx.Headers().Get("Sec-WebSocket-Protocol"), ",") {
		if e, ok := envelope.FromSubprotocol(strings.TrimSpace(offer)); ok {
			s.encoding = e
			header.Set("Sec-WebSocket-Protocol", e.Subprotocol())
			break
		}
	}
	ws, resp, err := websocket.NewClient(serveInMemory(gw, ctx.RemoteAddr()),
		&url.URL{Scheme: "ws", Host: "velaros", Path: "/"}, http.Header(header), 0, 0)
	if err != nil {
		if resp != nil {
			return errors.New(resp.Status)
		}
		return err
	}
	s.ws = ws
	go s.pump()
	return nil
}

// forward hands a message of the client to the gateway, which may hold it back
// while the service is busy.
func (s *session) forward(ctx *velaros.Context) error {
	raw := ctx.RawData()
	if head, err := s.encoding.Peek(raw); err == nil {
		s.note(string(head.ID))
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.ws.WriteMessage(int(ctx.MessageType()), raw)
}

// pump carries what services send to the client, until the gateway closes.
func (s *session) pump() {
	for {
		_, b, err := s.ws.ReadMessage()
		if err != nil {
			var closed *websocket.CloseError
			if errors.As(err, &closed) {
				s.client.CloseWithStatus(velaros.Status(closed.Code), closed.Text)
			} else {
				s.client.CloseWithStatus(velaros.StatusGoingAway, "the gateway is gone")
			}
			_ = s.ws.Close()
			return
		}
		if head, err := s.encoding.Peek(b); err == nil {
			s.note(string(head.ID))
		}
		if s.client.Send(b) != nil {
			_ = s.ws.Close() // the socket is gone; HandleClose says how
			return
		}
	}
}

// close tells the gateway how the socket ended.
func (s *session) close(status int, reason string) {
	s.once.Do(func() { s.err = errors.New("the socket is closed") })
	if s.ws == nil {
		return
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	switch status {
	case websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure, websocket.CloseTLSHandshake:
		status = websocket.CloseGoingAway // a close frame cannot carry these
	}
	message := websocket.FormatCloseMessage(status, reason)
	_ = s.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(closeTimeout))
	_ = s.ws.Close()
}
