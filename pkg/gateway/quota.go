package gateway

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/quota"
)

// shares are a connection's parts in what its address and its user may do together
// with others. Those that are not limited are nil.
type shares [2]*quota.Connection

// release counts the connection out. It is called once for each set of shares.
func (s *shares) release() {
	for i, c := range s {
		c.Close()
		s[i] = nil
	}
}

// scopeOf names the scope of a kind of quota.
func scopeOf(k quota.Kind) Scope {
	if k == quota.User {
		return ScopeUser
	}
	return ScopeAddress
}

// share counts a handshake for an address or a user. It answers the handshake and
// returns false if that has too many. What is shared is released by the caller, or
// at the end of the connection.
func (g *Gateway) share(w http.ResponseWriter, r *http.Request, client *client, k quota.Kind, name string) bool {
	if g.cfg.Quota == nil || name == "" {
		return true
	}
	c, excess := g.cfg.Quota.Connect(r.Context(), k, name)
	if excess != nil {
		scope, why, text := scopeOf(k), RefuseAddress, "there are too many connections from this address; wait before trying again"
		if k == quota.User {
			why, text = RefuseUser, "this user has too many connections; wait before trying again"
		}
		g.hooks.Limited(scope, Limit(excess.Limit))
		g.turnAwayFor(w, http.StatusTooManyRequests, why, excess.RetryAfter, text)
		return false
	}
	i := 0
	if k == quota.User {
		i = 1
	}
	client.shares[i] = c
	return true
}

// addressName names the address that a connection counts for; "" if it is not known.
func addressName(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return quota.AddressName(ip)
}

// overQuota takes what a message costs of the shares of the connection's address
// and user. It returns the answer if that is too much.
func (c *conn) overQuota(size int) *envelope.Failure {
	for _, share := range c.client.shares {
		if excess := share.Take(c.ctx.Done(), size); excess != nil {
			return c.limited(scopeOf(excess.Kind), Limit(excess.Limit), excess.RetryAfter)
		}
	}
	return nil
}

// runQuota exchanges quotas until the result is called.
func (g *Gateway) runQuota(ctx context.Context) (stop func()) {
	if g.cfg.Quota == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.cfg.Quota.Run(ctx) // its error is always nil
	}()
	return func() {
		cancel()
		<-ended
	}
}
