package gateway

import (
	"fmt"
	"log/slog"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/schema"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// rules are what a service has declared of a route's messages. They outlive their
// table for as long as the declaration stays the same, because sockets count by them.
type rules struct {
	rate     quota.Rate
	maxBytes int            // 0: no limit but the gateway's
	schema   *schema.Schema // nil: anything goes
}

// ruleKey is what rules are made of.
type ruleKey struct {
	service, pattern string
	limits           registry.RouteLimits
}

// compileRules makes the rules of a route, or takes those of the former table. nil
// means that there are none.
func (t *routeTable) compileRules(old *routeTable, key ruleKey) (*rules, error) {
	if key.limits == (registry.RouteLimits{}) {
		return nil, nil
	}
	if old != nil && old.rules[key] != nil {
		t.rules[key] = old.rules[key]
		return t.rules[key], nil
	}
	r := &rules{
		rate:     quota.Rate{PerSecond: key.limits.Rate, Burst: key.limits.Burst},
		maxBytes: key.limits.MaxBytes,
	}
	if err := r.rate.Validate(); err != nil {
		return nil, err
	}
	if key.limits.Schema != "" {
		s, err := schema.Compile(key.limits.Schema)
		if err != nil {
			return nil, err
		}
		r.schema = s
	}
	t.rules[key] = r
	return r, nil
}

// ruled returns the target of a route: its service's own, or a copy with rules. It
// is nil if the route cannot be served as it was declared.
func (t *routeTable) ruled(old *routeTable, to *target, r registry.Route, log *slog.Logger) *target {
	rules, err := t.compileRules(old, ruleKey{to.service, r.Pattern, r.Limits})
	switch {
	case err != nil:
		log.Error("a service announces limits of a route that this gateway cannot keep, so the route is left out; is the gateway older?",
			"service", to.service, "pattern", r.Pattern, "err", err)
		return nil
	case rules == nil:
		return to
	}
	return &target{service: to.service, policy: to.policy, rules: rules}
}

// checkRules holds a message against what its route demands. It returns the answer
// if the message must not reach the service.
func (c *conn) checkRules(r *rules, head envelope.Head, size int) *envelope.Failure {
	if r.maxBytes > 0 && size > r.maxBytes {
		c.g.hooks.Limited(ScopeRoute, LimitMessageBytes)
		return &envelope.Failure{
			Code:    wire.CodeValidation,
			Message: fmt.Sprintf("the message has %d bytes; this route takes %d", size, r.maxBytes),
		}
	}
	if r.rate.Limited() {
		l := c.limiter()
		now := c.clock()
		if wait := l.bucket(r, now).Take(r.rate, 1, now); wait > 0 {
			return c.limited(ScopeRoute, LimitMessageRate, wait)
		}
	}
	if r.schema == nil {
		return nil
	}
	return c.validate(r.schema, head.Data)
}

// validate checks data against a schema.
func (c *conn) validate(s *schema.Schema, data []byte) *envelope.Failure {
	var problems []schema.Problem
	switch c.encoding {
	case envelope.JSON:
		problems = s.JSON(data)
	case envelope.MsgPack:
		problems = s.MsgPack(data)
	default: // opaque, and what cannot be checked must not pass
		problems = []schema.Problem{{Text: "this route takes JSON or MessagePack only"}}
	}
	if len(problems) == 0 {
		return nil
	}
	c.g.hooks.Limited(ScopeRoute, LimitSchema)
	f := &envelope.Failure{Code: wire.CodeValidation, Message: "the data does not fit: " + problems[0].String()}
	for _, p := range problems {
		field := p.Field
		if field == "" {
			field = "data"
		}
		f.Fields = append(f.Fields, envelope.FieldError{Field: field, Error: p.Text})
	}
	return f
}
