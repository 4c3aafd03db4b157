package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// anyOrigin is the entry of Config.AllowedOrigins that accepts every page.
const anyOrigin = "*"

// origin is where a web page comes from, in the one form that can be compared:
// lower case, and without the scheme's default port.
type origin struct {
	scheme, host string
	wild         bool // a pattern: host begins with a dot, and stands for all hosts below it
}

// defaultPorts are the ports that an origin leaves out.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// parseOrigin reads scheme://host[:port], and nothing else.
func parseOrigin(s string) (origin, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme == "" || strings.Contains("."+u.Host, "..") || !strings.EqualFold(s, u.Scheme+"://"+u.Host) {
		return origin{}, errors.New("must be scheme://host or scheme://host:port")
	}
	name := u.Hostname()
	if name == "" || strings.HasSuffix(u.Host, ":") || strings.Contains(name, ":") && u.Host[0] != '[' {
		return origin{}, errors.New("has a port without a host, a colon without a port, or two ports")
	}
	return origin{scheme: u.Scheme, host: canonicalHost(u.Scheme, u.Host)}, nil
}

// parseOriginPattern reads an entry of Config.AllowedOrigins other than "*".
func parseOriginPattern(s string) (origin, error) {
	scheme, host, _ := strings.Cut(s, "://")
	rest, wild := strings.CutPrefix(host, "*.")
	o, err := parseOrigin(scheme + "://" + rest)
	switch {
	case err != nil:
		return o, err
	case strings.Contains(rest, "*"):
		return o, errors.New("a * stands only before the first dot of the host")
	case wild && !strings.Contains(rest, "."):
		return o, errors.New("names every host below a top-level domain")
	case wild:
		o.wild, o.host = true, "."+o.host
	}
	return o, nil
}

// canonicalHost is a host in lower case, without the default port of a scheme.
func canonicalHost(scheme, host string) string {
	host = strings.ToLower(host)
	if port, ok := defaultPorts[scheme]; ok {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return host
}

// matches reports whether an origin is the one that p stands for.
func (p origin) matches(o origin) bool {
	if p.scheme != o.scheme {
		return false
	}
	return p.host == o.host || p.wild && strings.HasSuffix(o.host, p.host) && len(o.host) > len(p.host)
}

// originPatterns reads Config.AllowedOrigins; all reports whether it holds "*".
func originPatterns(list []string) (patterns []origin, all bool, err error) {
	var errs []error
	for _, s := range list {
		if s == anyOrigin {
			all = true
			continue
		}
		o, err := parseOriginPattern(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("gateway.Config.AllowedOrigins: %q: %w", s, err))
		}
		patterns = append(patterns, o)
	}
	return patterns, all, errors.Join(errs...)
}

// originAllowed reports whether a browser may connect from the page that it is on.
// Two Origin headers are never allowed, and neither is "null", which any page can
// have itself sent as. Other programs send none.
func (g *Gateway) originAllowed(r *http.Request) bool {
	if g.cfg.CheckOrigin != nil {
		return g.cfg.CheckOrigin(r)
	}
	values := r.Header["Origin"]
	if len(values) == 0 {
		return true
	}
	o, err := parseOrigin(values[0])
	if err != nil || len(values) > 1 {
		return false
	}
	if g.allOrigins || slices.ContainsFunc(g.origins, func(p origin) bool { return p.matches(o) }) {
		return true
	}
	return o.host == canonicalHost(o.scheme, r.Host) && g.schemeFits(r, o.scheme)
}

// schemeFits reports whether a page of the gateway's own host, loaded by a scheme,
// may connect the way that r came. When TLS ended at something that is no trusted
// proxy the gateway cannot know how that was, and both schemes fit.
func (g *Gateway) schemeFits(r *http.Request, scheme string) bool {
	if scheme != "http" && scheme != "https" {
		return false
	}
	used := g.forwardedProto(r)
	return used == "" || used == scheme
}
