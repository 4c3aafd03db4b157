package gateway

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// authenticate finds out who a client is. What it returns, if anything, is why the
// client may not connect.
func (g *Gateway) authenticate(r *http.Request, c *client) *auth.Refusal {
	if g.cfg.Authenticator == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.cfg.AuthTimeout)
	defer cancel()
	start := time.Now()
	identity, refusal := g.judge(func() (wire.Identity, error) {
		return g.cfg.Authenticator.Authenticate(ctx, &auth.Handshake{
			Gateway:    g.name,
			Path:       r.URL.Path,
			Query:      r.URL.Query(),
			Header:     r.Header,
			ClientAddr: c.remoteAddr,
		})
	})
	if refusal != nil {
		g.hooks.Authenticated("", time.Since(start))
		g.logRefusal("a client was refused", c, refusal)
		return refusal
	}
	g.hooks.Authenticated(identity.Method, time.Since(start))
	if !identity.IsZero() {
		c.identity.Store(&identity)
	}
	return nil
}

// judge asks an Authenticator. A panic of it is an error, which lets nobody in.
func (g *Gateway) judge(ask func() (wire.Identity, error)) (i wire.Identity, refusal *auth.Refusal) {
	defer func() {
		if v := recover(); v != nil {
			g.log.Error("panic in the authenticator", "stack", string(debug.Stack())) // v may quote a credential
			i, refusal = wire.Identity{}, auth.Judge(errors.New("the authenticator panicked"))
		}
	}()
	i, err := ask()
	if refusal = auth.Judge(err); refusal != nil {
		return wire.Identity{}, refusal
	}
	if len(i.Append(nil)) > wire.MaxIdentity {
		return wire.Identity{}, &auth.Refusal{Code: auth.BadCredential, Text: "what the credential says is too large"}
	}
	return i, nil
}

// logRefusal logs why a client's credential was not accepted: as a fault when it is
// not the client's.
func (g *Gateway) logRefusal(what string, c *client, refusal *auth.Refusal) {
	if refusal.Code == auth.Unavailable {
		g.log.Warn(what+" because nobody can tell who it is", "remote", c.remoteAddr, "err", refusal.Err)
		return
	}
	g.log.Debug(what, "remote", c.remoteAddr, "code", refusal.Code, "err", refusal.Err)
}

// turnAwayUnknown answers the handshake of a client that authenticate has refused.
func (g *Gateway) turnAwayUnknown(w http.ResponseWriter, refusal *auth.Refusal) {
	switch status := refusal.Status(); status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	g.turnAway(w, refusal.Status(), Refusal(refusal.Code), refusal.Text)
}

// identify replaces who the client is, and tells its services: what they get after
// that is the new identity's. Only the read loop calls it, so that no pin is made
// meanwhile.
func (c *conn) identify(i wire.Identity) {
	before := c.client.identity.Swap(&i)
	if before == nil || before.User != i.User {
		c.authenticated(i.User)
	}
	c.mu.Lock()
	var streams []*backplane.Stream
	for _, p := range c.pins {
		if p.state == pinOpen {
			streams = append(streams, p.stream)
		}
	}
	c.mu.Unlock()
	for _, s := range streams {
		_ = s.SendIdentity(i) // on an error, a reset follows
	}
}

// watchExpiry warns the client before its identity expires. It returns after how
// many steps of the wheel there is something to do again, and whether the time of
// the identity is over. The wheel calls it.
func (c *conn) watchExpiry() (next ticks, expired bool) {
	i := c.client.identity.Load()
	if i == nil || i.Expires.IsZero() {
		return wheelSlots, false
	}
	cfg := &c.g.cfg
	left, end := time.Until(i.Expires), time.Until(i.Expires.Add(max(cfg.ExpiryGrace, 0)))
	if end <= 0 {
		return 0, true
	}
	if cfg.ExpiryWarning < 0 || c.warned == i {
		return c.g.wheel.ticks(end) + 1, false
	}
	if left > cfg.ExpiryWarning {
		return c.g.wheel.ticks(left-cfg.ExpiryWarning) + 1, false
	}
	c.warned = i
	c.warnOfExpiry(left)
	return c.g.wheel.ticks(end) + 1, false
}

// expiryTicks is after how many steps of the wheel watchExpiry has to be called.
func (c *conn) expiryTicks() ticks {
	i := c.client.identity.Load()
	if i == nil || i.Expires.IsZero() {
		return wheelSlots
	}
	return c.g.wheel.ticks(max(time.Until(i.Expires)-max(c.g.cfg.ExpiryWarning, 0), 0))
}
