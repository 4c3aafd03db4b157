package router

import "strings"

// routes are the public routes of a router. The value is immutable.
type routes struct {
	list     []*RouteDescriptor
	static   map[string]struct{} // paths without a slash at the end
	patterns []*Pattern          // that are not static
}

// announce adds public routes; of equal patterns the first counts.
func (r *Router) announce(more []*RouteDescriptor) {
	if len(more) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := &routes{static: map[string]struct{}{}}
	seen := map[string]bool{}
	for _, d := range append(append([]*RouteDescriptor{}, r.routes.Load().list...), more...) {
		p := d.Pattern
		if seen[p.String()] {
			continue
		}
		seen[p.String()] = true
		all.list = append(all.list, d)
		if p.isStatic {
			all.static[p.static] = struct{}{}
		} else {
			all.patterns = append(all.patterns, p)
		}
	}
	r.routes.Store(all)
}

// has reports whether a public route fits path.
func (r *routes) has(path string) bool {
	if _, ok := r.static[strings.TrimSuffix(path, "/")]; ok {
		return true
	}
	for _, p := range r.patterns {
		var few [4]string
		if _, _, ok := p.match(path, few[:0]); ok {
			return true
		}
	}
	return false
}
