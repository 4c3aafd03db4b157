package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/wire"
	"github.com/boreas-ws/boreas/test/cluster"
)

// cause is an injection as it turned out: it explains how sessions of its victims end,
// and not how others do.
type cause struct {
	Fault
	hits hits
	// away is for how long Redis itself had no master. If that is longer than pins or
	// links wait, everybody may be told.
	away time.Duration
}

// explains reports whether a session may have ended so because of it.
func (c cause) explains(v verdict) bool {
	if v.refused != "" {
		hit := !c.node || c.hits.session(v)
		return v.refused == string(wire.CodeUnavailable) && (c.refuses && hit || c.away > gateway.DefaultPinTimeout)
	}
	return slices.Contains(c.codes, v.code) && c.hits.session(v) ||
		v.code == restarts && c.away > link.DefaultResetAfter
}

// hits are the nodes that an injection killed, stopped or told to go, and when.
type hits map[hit]time.Time

type hit struct {
	node     string
	instance bool // else a gateway
}

// gateway notes one that is about to be hit.
func (h hits) gateway(g *cluster.Gateway) { h[hit{node: g.Name}] = time.Now() }

// instance notes one that is about to be hit.
func (h hits) instance(p *cluster.Probe) { h[hit{node: p.Name, instance: true}] = time.Now() }

// session reports whether one that has ended was a victim: its gateway had been hit, or
// the instance that it was pinned to. One that was never answered may have been pinned
// to any.
func (h hits) session(v verdict) bool {
	for node, at := range h {
		theirs := node.node == v.gateway
		if node.instance {
			theirs = node.node == v.instance || v.instance == ""
		}
		if theirs && !v.ended.Before(at) {
			return true
		}
	}
	return false
}

// during names what was injected when a session ended, and whom it hit.
func during(causes []cause) string {
	var list []string
	for _, c := range causes {
		if c.Name == "" {
			continue
		}
		var victims []string
		for node := range c.hits {
			victims = append(victims, node.node)
		}
		what := fmt.Sprintf("%q", c.Name)
		if len(victims) > 0 {
			slices.Sort(victims)
			what += " of " + strings.Join(victims, ", ")
		}
		list = append(list, what)
	}
	return " (" + strings.Join(list, ", ") + ")"
}
