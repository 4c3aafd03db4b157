package gateway

import (
	"testing"

	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestWaitingPushes: what waits for a client that reads nothing is bounded in bytes.
func TestWaitingPushes(t *testing.T) {
	const window = 64 << 10
	c := &conn{g: &Gateway{cfg: Config{PushWindow: window}}, writing: true} // by a writer that hangs
	payload := make([]byte, 16<<10)
	for range 1000 {
		if o := c.Push(&push.Delivery{Policy: wire.PolicyWait}, payload); o == push.Slow {
			break
		}
	}
	if held := c.pushes.held; held < window || held > maxHeld*window+2*len(payload) {
		t.Errorf("pushes of %d bytes wait; the window is %d", held, window)
	}
}
