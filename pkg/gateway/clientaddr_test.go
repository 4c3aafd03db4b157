package gateway

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/pkg/registry"
)

// behind makes a gateway that is not run, for what depends on the request alone.
func behind(t testing.TB, cfg Config) *Gateway {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	g := &Gateway{cfg: cfg}
	g.origins, g.allOrigins, _ = originPatterns(cfg.AllowedOrigins)
	return g
}

var proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}

func TestLocate(t *testing.T) {
	const x, f = HeaderXForwardedFor, HeaderForwarded
	for _, test := range []struct {
		peer   string
		header string // the one that is believed
		values []string
		want   string // the address in handlers
	}{
		{"203.0.113.1:99", x, nil, "203.0.113.1:99"},
		{"203.0.113.1:99", x, []string{"1.1.1.1"}, "203.0.113.1:99"}, // not a proxy
		{"10.0.0.1:99", x, nil, "10.0.0.1:99"},
		{"10.0.0.1:99", x, []string{"203.0.113.7"}, "203.0.113.7"},
		{"10.0.0.1:99", x, []string{"203.0.113.7:1234"}, "203.0.113.7:1234"},
		{"10.0.0.1:99", x, []string{"1.1.1.1, 203.0.113.7"}, "203.0.113.7"},
		{"10.0.0.1:99", x, []string{"1.1.1.1", "203.0.113.7"}, "203.0.113.7"},
		{"10.0.0.1:99", x, []string{"203.0.113.7 ,\t10.9.9.9,10.1.1.1"}, "203.0.113.7"},
		{"10.0.0.1:99", x, []string{"10.9.9.9, 10.1.1.1"}, "10.9.9.9"},
		{"[::ffff:10.0.0.1]:99", x, []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		{"10.0.0.1:99", x, []string{"1.1.1.1, ::ffff:10.2.3.4"}, "1.1.1.1"},
		{"[fd00::1]:99", x, []string{"2001:DB8::7"}, "2001:db8::7"},
		{"10.0.0.1:99", x, []string{"[2001:db8::7]:80"}, "[2001:db8::7]:80"},
		{"10.0.0.1:99", x, []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"10.0.0.1:99", x, []string{"fe80::1%eth0"}, "fe80::1"},
		{"10.0.0.1:99", x, []string{"[1.2.3.4]"}, "10.0.0.1:99"},
		{"10.0.0.1:99", x, []string{"1.1.1.1, unknown"}, "10.0.0.1:99"},
		{"10.0.0.1:99", x, []string{"1.1.1.1,"}, "10.0.0.1:99"},
		{"10.0.0.1:99", x, []string{"1.1.1.1, garbage, 10.3.3.3"}, "10.3.3.3"},
		{"10.0.0.1:99", x, []string{"010.1.1.1"}, "10.0.0.1:99"},
		{"10.0.0.1:99", x, []string{strings.Repeat("1.1.1.1, ", 1000) + "203.0.113.7"}, "203.0.113.7"},
		{"10.0.0.1:99", x, []string{"203.0.113.7" + strings.Repeat(", 10.1.1.1", 1000)}, "203.0.113.7"},
		{"10.0.0.1:99", f, []string{"for=203.0.113.7;proto=https"}, "203.0.113.7"},
		{"10.0.0.1:99", f, []string{`For="[2001:db8::7]:4711";by=10.0.0.1`}, "[2001:db8::7]:4711"},
		{"10.0.0.1:99", f, []string{"for=1.1.1.1, for=203.0.113.7", "for=10.4.4.4"}, "203.0.113.7"},
		{"10.0.0.1:99", f, []string{`for="1.1.1.1, for=203.0.113.7`}, "203.0.113.7"}, // a quote that never closes
		{"10.0.0.1:99", f, []string{"for=_hidden"}, "10.0.0.1:99"},
		{"10.0.0.1:99", f, []string{"for=1.1.1.1;for=2.2.2.2"}, "10.0.0.1:99"},
		{"10.0.0.1:99", f, []string{"proto=https"}, "10.0.0.1:99"},
		{"pipe", x, []string{"1.1.1.1"}, "pipe"},
	} {
		r := &http.Request{RemoteAddr: test.peer, Header: http.Header{test.header: test.values}}
		other := map[string]string{x: f, f: x}[test.header]
		r.Header.Set(other, "for=6.6.6.6") // no proxy of ours sets this one
		g := behind(t, Config{TrustedProxies: proxies, ForwardedHeader: test.header})
		ip, got := g.locate(r)
		if got != test.want {
			t.Errorf("%s with %s %.80q: %s; want %s", test.peer, test.header, test.values, got, test.want)
		}
		if want, _ := parseAddr(test.want); ip != want || ip.Is4In6() || ip.Zone() != "" {
			t.Errorf("%s with %.80q: addr %v; want %v", test.peer, test.values, ip, want)
		}
	}
}

// TestForwardedAddress checks who an instance is told the client is.
func TestForwardedAddress(t *testing.T) {
	w := newWorld(t)
	gw := w.gateway(Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	a := w.instance(gw.bp, registry.Service{Name: "a", Routes: routes("/a")})
	gw.routed("/a")
	c, _ := gw.try(http.Header{HeaderXForwardedFor: {"127.0.0.1, 2001:db8::7, 127.0.0.2"}})
	if err := c.WriteMessage(websocket.TextMessage, []byte(message("/a", "1", "x"))); err != nil {
		t.Fatal(err)
	}
	if o := receive(w, "open", a.opened).open; o.RemoteAddr != "2001:db8::7" {
		t.Errorf("the instance is told %q", o.RemoteAddr)
	}
	if got := gw.connections()[0].client.addr(); got != netip.MustParseAddr("2001:db8::7") {
		t.Errorf("the client's address is %v", got)
	}
}

// FuzzLocate checks that nobody but a proxy has a say, and that what a client puts
// before the entry of the proxy changes nothing.
func FuzzLocate(f *testing.F) {
	for _, s := range []string{"1.1.1.1", `for="`, "for=1.1.1.1, ", `a,"b,c`, "[::1]:80", "::ffff:1.1.1.1", ",,,", "\x00"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	believe := map[bool]*Gateway{
		false: behind(f, Config{TrustedProxies: proxies}),
		true:  behind(f, Config{TrustedProxies: proxies, ForwardedHeader: HeaderForwarded}),
	}
	f.Fuzz(func(t *testing.T, s string, rfc bool) {
		g, entry := believe[rfc], "203.0.113.7:5"
		if rfc {
			entry = `for="203.0.113.7:5"`
		}
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{g.cfg.ForwardedHeader: {s + "," + entry}}}
		if _, got := g.locate(r); got != "203.0.113.7:5" {
			t.Errorf("%q before the proxy's entry: %s", s, got)
		}
		r.Header[g.cfg.ForwardedHeader] = []string{s}
		if ip, text := g.locate(r); !ip.IsValid() || text == "" || ip.Is4In6() {
			t.Errorf("%q: %v %q", s, ip, text)
		}
		if r.RemoteAddr = "192.0.2.1:1"; true {
			if _, got := g.locate(r); got != r.RemoteAddr {
				t.Errorf("%q of a stranger: %s", s, got)
			}
		}
	})
}

func TestOriginAllowed(t *testing.T) {
	listed := []string{"https://app.example.com", "https://*.example.org", "http://localhost:3000", "https://*.dev.example.net:8443", "capacitor://localhost"}
	for _, test := range []struct {
		allowed []string
		origins []string
		host    string
		proto   string // "tls", or what the trusted proxy says; "" if there is none
		ok      bool
	}{
		{origins: nil, ok: true},
		{origins: []string{"http://gw.example"}, ok: true},
		{origins: []string{"https://gw.example"}, ok: true}, // TLS ended somewhere
		{origins: []string{"https://gw.example:443"}, ok: true},
		{origins: []string{"HTTPS://GW.example"}, ok: true},
		{origins: []string{"https://gw.example"}, host: "gw.example:443", ok: true},
		{origins: []string{"http://gw.example"}, host: "gw.example:443", ok: false},
		{origins: []string{"http://gw.example:80"}, ok: true},
		{origins: []string{"http://gw.example:8080"}, ok: false},
		{origins: []string{"http://gw.example:8080"}, host: "gw.example:8080", ok: true},
		{origins: []string{"https://gw.example"}, proto: "tls", ok: true},
		{origins: []string{"http://gw.example"}, proto: "tls", ok: false},
		{origins: []string{"https://gw.example"}, proto: "https", ok: true},
		{origins: []string{"https://gw.example"}, proto: "http, HTTPS", ok: true},
		{origins: []string{"http://gw.example"}, proto: "https", ok: false},
		{origins: []string{"http://gw.example"}, proto: "http, https", ok: false},
		{origins: []string{"https://gw.example"}, proto: "http", ok: false},
		{origins: []string{"ftp://gw.example"}, ok: false},
		{origins: []string{"null"}, ok: false},
		{origins: []string{""}, ok: false},
		{origins: []string{"http://gw.example", "http://gw.example"}, ok: false},
		{origins: []string{"http://gw.example/"}, ok: false},
		{origins: []string{"http://gw.example,http://evil.example"}, ok: false},
		{origins: []string{"http://gw.example http://evil.example"}, ok: false},
		{origins: []string{"http://user@gw.example"}, ok: false},
		{origins: []string{"http://gw.example?x"}, ok: false},
		{origins: []string{"http://gw.example#"}, ok: false},
		{origins: []string{"//gw.example"}, ok: false},
		{origins: []string{"gw.example"}, ok: false},
		{origins: []string{"http://gw.example."}, ok: false},
		{origins: []string{"http://evil.example"}, ok: false},
		{allowed: listed, origins: []string{"https://app.example.com"}, ok: true},
		{allowed: listed, origins: []string{"https://APP.example.com:443"}, ok: true},
		{allowed: listed, origins: []string{"http://app.example.com"}, ok: false},
		{allowed: listed, origins: []string{"https://app.example.com:8443"}, ok: false},
		{allowed: listed, origins: []string{"https://app.example.com.evil.example"}, ok: false},
		{allowed: listed, origins: []string{"https://a.example.org"}, ok: true},
		{allowed: listed, origins: []string{"https://a.b.example.org"}, ok: true},
		{allowed: listed, origins: []string{"https://example.org"}, ok: false},
		{allowed: listed, origins: []string{"https://.example.org"}, ok: false},
		{allowed: listed, origins: []string{"https://evilexample.org"}, ok: false},
		{allowed: listed, origins: []string{"https://a.example.org:444"}, ok: false},
		{allowed: listed, origins: []string{"https://x.dev.example.net:8443"}, ok: true},
		{allowed: listed, origins: []string{"http://localhost:3000"}, ok: true},
		{allowed: listed, origins: []string{"capacitor://localhost"}, ok: true},
		{allowed: listed, origins: []string{"null"}, ok: false},
		{allowed: []string{"*"}, origins: []string{"https://anything.example"}, ok: true},
		{allowed: []string{"*"}, origins: []string{"null"}, ok: false},
		{allowed: []string{"*"}, origins: []string{"https://a.example", "https://b.example"}, ok: false},
	} {
		r := &http.Request{RemoteAddr: "192.0.2.1:1", Host: "gw.example", Header: http.Header{}}
		r.Header["Origin"] = test.origins
		if test.host != "" {
			r.Host = test.host
		}
		r.Header.Set(xForwardedProto, "http") // believed from proxies only
		if test.proto == "tls" {
			r.TLS = &tls.ConnectionState{}
		} else if test.proto != "" {
			r.RemoteAddr = "10.0.0.1:1"
			r.Header.Set(xForwardedProto, test.proto)
		}
		if got := behind(t, Config{AllowedOrigins: test.allowed, TrustedProxies: proxies}).originAllowed(r); got != test.ok {
			t.Errorf("%+v: allowed %v", test, got)
		}
	}
}

func TestOriginPatterns(t *testing.T) {
	for _, bad := range []string{
		"", "null", "example.com", "https://", "https://*", "https://*.com", "https://a.*.com", "https://*a.example.com",
		"https://**.example.com", "https://example.com/", "https://example.com/x", "https://u@example.com", "*.example.com",
		"http://:80", "http://example.com:", "http://example.com:80:80",
	} {
		if err := (Config{AllowedOrigins: []string{"*", bad}}).withDefaults().validate(); err == nil || !strings.Contains(err.Error(), "AllowedOrigins") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseOrigin(f *testing.F) {
	for _, s := range []string{"https://a.example", "http://[::1]:80", "null", "https://*.a.example", "http://a.example:80", "x://y", "http://:80", "http://a:80:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := parseOrigin(s)
		if err != nil {
			return
		}
		again, err := parseOrigin(o.scheme + "://" + o.host)
		if err != nil || again != o || strings.ContainsAny(o.host, "/?#@") {
			t.Errorf("%q is %+v, and that %+v, %v", s, o, again, err)
		}
	})
}
