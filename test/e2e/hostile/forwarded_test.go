package hostile

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// forwarded are attacks on where a client comes from.
func forwarded() []attack {
	var list []attack
	const name = "X-Forwarded-For: "
	many := strings.Repeat("192.0.2.1, ", 999)
	for _, f := range []struct {
		name    string
		headers []string
		want    string // the address that the service sees
	}{
		{"1,000 entries", []string{name + many + "203.0.113.7"}, "203.0.113.7"},
		{"1,000 trusted entries", []string{name + strings.Repeat("10.0.0.1, ", 999) + "10.0.0.1"}, "10.0.0.1"},
		{"an entry left of the client's", []string{name + "10.9.9.9, 203.0.113.7"}, "203.0.113.7"},
		{"an own address as a client's", []string{name + "127.0.0.1, 203.0.113.7, 10.0.0.1"}, "203.0.113.7"},
		{"two headers", []string{name + "192.0.2.1", name + "203.0.113.7"}, "203.0.113.7"},
		{"IPv4 in IPv6", []string{name + "::ffff:203.0.113.7"}, "203.0.113.7"},
		{"a trusted proxy as IPv4 in IPv6", []string{name + "203.0.113.7, ::ffff:10.0.0.1"}, "203.0.113.7"},
		{"a port", []string{name + "203.0.113.7:99"}, "203.0.113.7"},
		{"a port of 6 digits", []string{name + "203.0.113.7:999999"}, "127.0.0.1"},
		{"IPv6 in brackets with a port", []string{name + "[2001:db8::1]:99"}, "2001:db8::1"},
		{"IPv6 with a zone", []string{name + "fe80::1%eth0"}, "fe80::1"},
		{"brackets that never close", []string{name + "[2001:db8::1"}, "127.0.0.1"},
		{"garbage", []string{name + "203.0.113.7, garbage"}, "127.0.0.1"},
		{"an empty entry", []string{name + "203.0.113.7,"}, "127.0.0.1"},
		{"nothing", []string{name}, "127.0.0.1"},
		{"a quote that never closes", []string{name + `", 203.0.113.7`}, "203.0.113.7"},
		{"zeros before an address", []string{name + "203.0.113.007"}, "127.0.0.1"},
		{"an address in one number", []string{name + "3405803783"}, "127.0.0.1"},
		{"a host name", []string{name + "localhost"}, "127.0.0.1"},
		{"unknown", []string{name + "unknown"}, "127.0.0.1"},
		{"an address of 10 KB", []string{name + strings.Repeat("1", 10000)}, "127.0.0.1"},
		{"another header", []string{"Forwarded: for=192.0.2.1", "X-Real-IP: 192.0.2.1", "True-Client-IP: 192.0.2.1", "X-Client-IP: 192.0.2.1"}, "127.0.0.1"},
	} {
		list = append(list, attack{name: f.name, run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.upgrade(f.headers...)
			if got := c.info().Remote; got != f.want {
				t.Errorf("the service sees %s; want %s", got, f.want)
			}
		}})
	}
	list = append(list,
		attack{name: "a client that is no proxy", run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "127.0.0.2")
			c.upgrade(name + "192.0.2.1")
			if got := c.info().Remote; got != "127.0.0.2" {
				t.Errorf("the service sees %s", got)
			}
		}},
		attack{name: "a new address for every connection", run: func(t *testing.T, w *world) {
			for i, want := range []int{101, 101, 101, 429} {
				c := dial(t, w.strict, "127.0.0.3")
				status, code := c.shake(fmt.Sprintf(name+"192.0.2.%d", i), "Authorization: Bearer "+w.hs(t, set("sub", fmt.Sprint("walker-", i))))
				if status != want || want == http.StatusTooManyRequests && code != "address_limit" {
					t.Errorf("connection %d is answered with %d %s; want %d", i+1, status, code, want)
				}
			}
		}},
		attack{name: "the scheme of a page, from no proxy", run: func(t *testing.T, w *world) {
			// Without a proxy's word both schemes of the own host fit; no other host does.
			c := dial(t, w.open, "127.0.0.2")
			if status, code := c.shake("Origin: "+evilPage, "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example.net"); status != 403 || code != "origin" {
				t.Errorf("answered with %d %s", status, code)
			}
		}},
	)
	return append(list, proxyHeaders()...)
}

// proxyHeaders are attacks on the PROXY protocol.
func proxyHeaders() []attack {
	const signature = "\r\n\r\n\x00\r\nQUIT\n"
	v2 := func(command, family byte, length int, rest string) string {
		return signature + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(length))) + rest
	}
	var list []attack
	for _, h := range []struct{ name, header string }{
		{"PROXY header missing", ""},
		{"PROXY header of garbage", "PROXY garbage\r\n"},
		{"PROXY header of a host name", "PROXY TCP4 localhost 192.0.2.1 1 2\r\n"},
		{"PROXY header of the other family", "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"},
		{"PROXY header with a port of 6 digits", "PROXY TCP4 192.0.2.9 192.0.2.1 999999 2\r\n"},
		{"PROXY header that never ends", "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n"},
		{"PROXY header of version 3", v2(0x31, 0x11, 12, strings.Repeat("x", 12))},
		{"PROXY header of 64 KiB", v2(0x21, 0x11, 65535, strings.Repeat("x", 65535))},
		{"PROXY header that is too short for its addresses", v2(0x21, 0x11, 4, "abcd")},
	} {
		list = append(list, attack{name: h.name, run: func(t *testing.T, w *world) {
			c := dial(t, w.proxied, "")
			c.write(h.header + "GET /ws HTTP/1.1\r\n" + handshake + "\r\n")
			if status, code := c.request(""); status != http.StatusBadRequest || code != "" { // from the HTTP server
				t.Errorf("answered with %d %s", status, code)
			}
			c.wantEnd()
		}})
	}
	return append(list,
		attack{name: "PROXY header of a client that is no proxy", run: func(t *testing.T, w *world) {
			c := dial(t, w.proxied, "127.0.0.2")
			c.write("PROXY TCP4 192.0.2.9 192.0.2.1 1 2\r\n")
			if status, _ := c.shake(); status != http.StatusBadRequest {
				t.Errorf("answered with %d", status)
			}
		}},
		attack{name: "PROXY header twice", run: func(t *testing.T, w *world) {
			c := dial(t, w.proxied, "")
			c.write("PROXY TCP4 192.0.2.9 192.0.2.1 1 2\r\nPROXY TCP4 10.0.0.1 192.0.2.1 1 2\r\n")
			if status, _ := c.shake(); status != http.StatusBadRequest {
				t.Errorf("answered with %d", status)
			}
		}},
		attack{name: "PROXY header, and another address by X-Forwarded-For", run: func(t *testing.T, w *world) {
			c := dial(t, w.proxied, "")
			c.write("PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n")
			c.upgrade("X-Forwarded-For: 192.0.2.66")
			if got := c.info().Remote; got != "203.0.113.7" {
				t.Errorf("the service sees %s", got)
			}
		}},
		attack{name: "PROXY header that does not come", slow: true, run: func(t *testing.T, w *world) {
			c := dial(t, w.proxied, "")
			c.write("PROXY TCP4")
			c.wantEnd()
		}},
	)
}
