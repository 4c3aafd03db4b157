package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// The values of Config.ForwardedHeader.
const (
	HeaderXForwardedFor = "X-Forwarded-For"
	HeaderForwarded     = "Forwarded" // RFC 7239
)

const xForwardedProto = "X-Forwarded-Proto"

// addr is the client's address, without port and zone; an IPv4 address is never
// in its IPv6 form. It is the zero Addr if the gateway is served on something
// without addresses.
func (c *client) addr() netip.Addr { return c.ip }

// locate finds out who the client is: the peer of the connection, unless that is
// a trusted proxy. Then it is what the proxy says, and so on; an entry that is no
// address ends that, because whoever wrote it is the last one known. remote is the
// address for handlers and the log, with a port where one is known.
func (g *Gateway) locate(r *http.Request) (ip netip.Addr, remote string) {
	ip, _ = parseAddr(r.RemoteAddr)
	remote = r.RemoteAddr
	if !g.trusted(ip) {
		return ip, remote
	}
	for entry := range fromRight(r.Header[g.cfg.ForwardedHeader]) {
		if g.cfg.ForwardedHeader == HeaderForwarded {
			entry = forwardedParam(entry, "for")
		}
		next, text := parseAddr(entry)
		if !next.IsValid() {
			break
		}
		if ip, remote = next, text; !g.trusted(ip) {
			break
		}
	}
	return ip, remote
}

// trusted reports whether an address is a proxy's.
func (g *Gateway) trusted(ip netip.Addr) bool {
	return slices.ContainsFunc(g.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// forwardedProto is the scheme that the client used, in lower case; "" if the
// gateway does not know.
func (g *Gateway) forwardedProto(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	if ip, _ := parseAddr(r.RemoteAddr); !g.trusted(ip) {
		return ""
	}
	name := xForwardedProto
	if g.cfg.ForwardedHeader == HeaderForwarded {
		name = HeaderForwarded
	}
	for entry := range fromRight(r.Header[name]) {
		if name == HeaderForwarded {
			entry = forwardedParam(entry, "proto")
		}
		return strings.ToLower(entry)
	}
	return ""
}

// fromRight yields the elements of a list header, the last one first: that is the
// one which the nearest proxy wrote. What a client put to the left of it, such as
// a quote that is never closed, has no effect on it.
func fromRight(lines []string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			quoted, end := false, len(line)
			for i := len(line) - 1; i >= -1; i-- {
				switch {
				case i < 0 || line[i] == ',' && !quoted:
					if !yield(strings.TrimSpace(line[i+1 : end])) {
						return
					}
					end = i
				case line[i] == '"':
					quoted = !quoted
				}
			}
		}
	}
}

// forwardedParam returns a parameter of one element of a Forwarded header; "" if it
// is missing or there twice.
func forwardedParam(element, name string) (value string) {
	found := false
	for pair := range strings.SplitSeq(element, ";") {
		k, v, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || !strings.EqualFold(k, name) {
			continue
		}
		if found {
			return ""
		}
		found, value = true, v
		if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
			value = v[1 : len(v)-1]
		}
	}
	return value
}

// parseAddr reads an address with or without a port, an IPv6 address with or
// without brackets. text is the same in the usual form. ip is the zero Addr if s is
// anything else.
func parseAddr(s string) (ip netip.Addr, text string) {
	if p, err := netip.ParseAddrPort(s); err == nil {
		ip = plain(p.Addr())
		return ip, netip.AddrPortFrom(ip, p.Port()).String()
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(s, ":") {
			return netip.Addr{}, ""
		}
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, ""
	}
	ip = plain(ip)
	return ip, ip.String()
}

// plain is an address in the one form that is compared with prefixes.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }
