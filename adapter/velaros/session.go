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

// closeTimeout bounds the writing of a close frame to the gateway, which is in the
// same process.
const closeTimeout = time.Second

// sendTimeout is how long a client may take to accept a message, after which its
// socket is closed: Velaros itself waits for ever.
const sendTimeout = 10 * time.Second

// maxReason is how many bytes a close frame has for its reason.
const maxReason = 123

// session is one Velaros socket as a client of the gateway: a WebSocket in memory.
type session struct {
	once sync.Once
	err  error // of open

	encoding envelope.Encoding
	client   *velaros.Context // sends to the Velaros socket for as long as that lives

	writing sync.Mutex
	ws      *websocket.Conn // messages are written under writing

	mu  sync.Mutex
	ids recent // which of the client's answers without a path are for a service
}

// used reports whether an id is of a message that passed through the gateway.
func (s *session) used(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.ids.get(id)
	return ok
}

// note remembers the id of a message that passes through the gateway.
func (s *session) note(message []byte) {
	head, err := s.encoding.Peek(message)
	if err != nil || len(head.ID) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids.put(string(head.ID), "")
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
	// time. The sub context has the socket and the message type of its own; it need
	// not keep the message.
	s.client = velaros.NewSubContextWithNode(ctx, nil)
	s.client.SetMessageMarshaller(passThrough)
	s.client.SetMessageRawData(nil)
	s.client.SetMessageData(nil)
	s.client.SetMessageMeta(nil)

	header := ctx.Headers().Clone()
	for name := range header {
		switch {
		case strings.HasPrefix(name, "Sec-Websocket-"), name == "Connection", name == "Upgrade", name == "Origin", name == "Host":
			header.Del(name)
		}
	}
	s.encoding = encodingOf(ctx)
	header.Set("Sec-WebSocket-Protocol", s.encoding.Subprotocol())
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

// encodingOf tells what a socket speaks: the first of the subprotocols it offers
// that Boreas knows, else what its message, which has a path, turns out to be.
func encodingOf(ctx *velaros.Context) envelope.Encoding {
	for _, offer := range strings.Split(ctx.Headers().Get("Sec-WebSocket-Protocol"), ",") {
		if e, ok := envelope.FromSubprotocol(strings.TrimSpace(offer)); ok && strings.TrimSpace(offer) != "" {
			return e
		}
	}
	for _, e := range []envelope.Encoding{envelope.MsgPack, envelope.Protobuf} {
		if head, err := e.Peek(ctx.RawData()); err == nil && len(head.Path) > 0 {
			return e
		}
	}
	return envelope.JSON
}

// forward hands a message of the client to the gateway, which may hold it back
// while the service is busy.
func (s *session) forward(ctx *velaros.Context) error {
	raw := ctx.RawData()
	s.note(raw)
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.ws.WriteMessage(int(s.encoding.MessageType()), raw)
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
		s.note(b)
		slow := time.AfterFunc(sendTimeout, func() {
			s.client.CloseWithStatus(velaros.StatusPolicyViolation, "the client does not read")
		})
		err = s.client.Send(b)
		slow.Stop()
		if err != nil {
			_ = s.ws.Close() // the socket is gone; HandleClose says how
			return
		}
	}
}

// close tells the gateway how the socket ended. It does not wait for a message
// that is being forwarded to a busy service: closing ends that.
func (s *session) close(status int, reason string) {
	s.once.Do(func() { s.err = errors.New("the socket is closed") })
	if s.ws == nil {
		return
	}
	switch {
	case status < websocket.CloseNormalClosure, status == websocket.CloseNoStatusReceived,
		status == websocket.CloseAbnormalClosure, status == websocket.CloseTLSHandshake:
		status = websocket.CloseGoingAway // a close frame cannot carry these
	}
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	message := websocket.FormatCloseMessage(status, reason)
	_ = s.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(closeTimeout))
	_ = s.ws.Close()
}
