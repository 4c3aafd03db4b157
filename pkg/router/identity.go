package router

import "github.com/boreas-ws/boreas/pkg/wire"

// Identity is who a client is, as its gateway established it: no header, query
// parameter or metadata of the client has a part in it.
type Identity = wire.Identity

// Identity returns who the client is; the zero Identity for an anonymous one, or one
// that is connected to the router directly. When the client renews its credential,
// the claims and the expiry change, and the user does not.
func (c *Context) Identity() Identity {
	if s := c.socket(); s != nil {
		return *s.identity.Load()
	}
	return Identity{}
}
