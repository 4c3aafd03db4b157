package chaos

import (
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/test/probe"
)

// verdict is what a session says about the oracle P.
type verdict struct {
	probe.Damage
	broken   []string
	refused  string
	closed   bool
	code     int
	reason   string // of the close
	ended    time.Time
	unpushed []missed

	// gateway is the node of the session's gateway, instance that of the one it is pinned
	// to; "" if it was not answered yet.
	gateway, instance string
}

// explained reports whether one of the causes accounts for the end of the session.
func (v verdict) explained(causes []cause) bool {
	return slices.ContainsFunc(causes, func(c cause) bool { return c.explains(v) })
}

// verdict judges the session. For one that is open, everything that was sent must
// have been answered: it is asked when all is calm.
func (s *session) verdict() verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := verdict{
		Damage: s.replies.Damage,
		broken: s.broken, refused: s.refused, code: s.code, reason: s.reason, ended: s.ended,
		gateway: s.gateway, instance: s.instance,
		closed: s.closed && !(s.leaving && s.code == websocket.CloseNormalClosure),
	}
	v.Add(s.messages.Damage)
	s.pushed.judge(&v)
	if !s.closed {
		v.Lost += s.sent - s.replies.Last + max(0, s.sent+s.sent/3-s.messages.Last)
	}
	return v
}
