package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestSeriesAreBounded: sockets come and go, close codes are any, and a service that
// announces ever new patterns ends in one series.
func TestSeriesAreBounded(t *testing.T) {
	m := New()
	h := m.Gateway("public")
	count := func() (n int) {
		for _, f := range m.Gather().Families {
			n += len(f.Series)
		}
		return n
	}
	use := func(i int) {
		h.SocketOpened()
		h.MessagesIn("chat", 1, i)
		h.MessagesOut(1, i)
		h.Requests("chat", "/users/:id")(time.Millisecond, 2*time.Millisecond)
		h.SocketClosed(wire.CloseCode(4000+i%1000), "service", time.Second)
	}
	use(0)
	before := count()
	for i := range 10_000 {
		use(i)
	}
	if after := count(); after != before {
		t.Errorf("10,000 sockets made %d series of %d", after, before)
	}
	for i := range 3 * maxSeries {
		h.Requests("chat", fmt.Sprintf("/%d", i))
	}
	f, _ := m.Gather().Family("boreas_gateway_request_duration_seconds")
	if len(f.Series) > maxSeries+1 {
		t.Errorf("%d series; the bound is %d and one for others", len(f.Series), maxSeries)
	}
}

func TestHandler(t *testing.T) {
	m := New()
	m.Gateway("public").SocketOpened()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	want := "\nboreas_gateway_sockets{gateway=\"public\"} 1\n"
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
		t.Errorf("status %d, without %q", w.Code, want)
	}
}
