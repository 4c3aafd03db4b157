package gateway

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
)

// target is a service as the route table knows it.
type target struct {
	service string
	policy  registry.Policy
	rules   *rules   // of the route; nil without
	observe Observer // of the times that replies on the route take; nil: they are not taken
}

// route is one pattern of a service, without the names of its parameters, which a
// gateway has no use for.
type route struct {
	pattern *router.Pattern
	to      *target
}

// routeTable says which service handles a path. It is immutable: a change of the
// registry's view makes a new one.
//
// Of several patterns that match, the most specific wins: a path without
// parameters is looked up first, and the others are tried from the most to the
// least specific. Should two services announce the same pattern, which the
// registry refuses, the first by name has it.
type routeTable struct {
	static map[string]*target
	// bySegment holds, for the first segment of a path, the patterns that begin
	// with that segment and those that begin with a parameter; anySegment only the
	// latter, for all other first segments.
	bySegment  map[string][]route
	anySegment []route
	services   map[string]*target
	rules      map[ruleKey]*rules
}

// compileRoutes makes the table of the gateways called name. What has not changed
// since the old table, which may be nil, is taken from there. requests is a hook.
func compileRoutes(v *registry.View, name string, old *routeTable, requests func(service, pattern string) Observer, log *slog.Logger) *routeTable {
	t := &routeTable{
		static:    make(map[string]*target),
		bySegment: make(map[string][]route),
		services:  make(map[string]*target),
		rules:     make(map[ruleKey]*rules),
	}
	var routes []route
	for _, service := range slices.Sorted(maps.Keys(v.Services)) {
		s := v.Services[service]
		if only := s.Service.Gateways; len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		to := &target{service: service, policy: s.OnInstanceLoss}
		t.services[service] = to
		for _, r := range s.Routes {
			p, err := nameless(r.Pattern)
			if err != nil {
				log.Error("a service announces a route that this gateway cannot read; is the gateway older?",
					"service", service, "pattern", r.Pattern, "err", err)
				continue
			}
			if to := t.ruled(old, to, r, log); to != nil {
				routes = append(routes, route{p, to.observed(requests(to.service, r.Pattern))})
			}
		}
	}
	slices.SortStableFunc(routes, func(a, b route) int {
		return cmp.Or(a.pattern.Compare(b.pattern), cmp.Compare(a.to.service, b.to.service))
	})
	t.fill(routes)
	return t
}

// observed is the target of a route that is observed: a copy.
func (to *target) observed(by Observer) *target {
	if by == nil {
		return to
	}
	own := *to
	own.observe = by
	return &own
}

// nameless parses a pattern without the names of its parameters.
func nameless(pattern string) (*router.Pattern, error) {
	p, err := router.NewPattern(pattern)
	if err != nil {
		return nil, err
	}
	return router.NewPattern(p.Canonical())
}

// noParams holds *router.MessageParams for matching nameless patterns, which leaves
// them empty.
var noParams = sync.Pool{New: func() any { return &router.MessageParams{} }}

// fill sorts routes, which are in the order of trying, into the table.
func (t *routeTable) fill(routes []route) {
	for _, r := range routes {
		if source := r.pattern.String(); isStatic(source) {
			if t.static[source] == nil {
				t.static[source] = r.to
			}
		} else if s := firstSegment(source); isStatic(s) {
			t.bySegment[s] = nil
		}
	}
	for _, r := range routes {
		source := r.pattern.String()
		if isStatic(source) {
			continue
		}
		if s := firstSegment(source); isStatic(s) {
			t.bySegment[s] = append(t.bySegment[s], r)
			continue
		}
		t.anySegment = append(t.anySegment, r)
		for s := range t.bySegment {
			t.bySegment[s] = append(t.bySegment[s], r)
		}
	}
}

// isStatic reports whether a pattern, or a segment of it, matches only itself.
func isStatic(pattern string) bool { return !strings.ContainsAny(pattern, `:*?+()\`) }

// firstSegment returns what stands between the first and the second slash.
func firstSegment(path string) string {
	s, _, _ := strings.Cut(path[1:], "/")
	return s
}

// lookup returns who handles a path that checkPath accepts, nil if nobody does. One
// slash at the end of the path is ignored. It does not allocate.
func (t *routeTable) lookup(path []byte) *target {
	if len(path) > 1 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	if to := t.static[string(path)]; to != nil {
		return to
	}
	p := unsafe.String(unsafe.SliceData(path), len(path)) // #nosec G103 -- not kept beyond this call
	routes, ok := t.bySegment[firstSegment(p)]
	if !ok {
		routes = t.anySegment
	}
	params := noParams.Get().(*router.MessageParams)
	defer noParams.Put(params)
	for _, r := range routes {
		if r.pattern.MatchInto(p, params) {
			return r.to
		}
	}
	return nil
}
