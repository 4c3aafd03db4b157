package compose

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// located checks that services see the address that the load balancer sees, and not
// one that a client claims to have.
func located(s *stack) {
	const claimed = "203.0.113.7"
	for _, header := range []http.Header{{}, {"X-Forwarded-For": {claimed}}, {"Forwarded": {"for=" + claimed}}} {
		c, err := dialWith(s.ctx, s.host(), header)
		if err != nil {
			s.t.Fatal(err)
		}
		p, err := c.place()
		_ = c.ws.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := netip.ParseAddr(p.Client); err != nil || p.Client == claimed {
			s.t.Errorf("with %v the client's address is %q (%v)", header, p.Client, err)
		}
		s.eventually(func() error {
			log, err := s.dockerTry("logs", s.containers("haproxy")[0])
			if err == nil && !strings.Contains(log, p.Client+" GET /ws 101 ") {
				err = fmt.Errorf("the load balancer has no client %s", p.Client)
			}
			return err
		})
		s.t.Logf("with %v the client's address is %s", header, p.Client)
	}
}
