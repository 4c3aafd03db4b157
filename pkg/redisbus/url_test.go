package redisbus

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func contains(err error, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			return false
		}
	}
	return true
}

func TestParseURL(t *testing.T) {
	for _, tc := range []struct {
		url  string
		want Topology
	}{
		{"redis://localhost", Topology{network: "tcp", addr: "localhost:6379"}},
		{"redis://", Topology{network: "tcp", addr: "localhost:6379"}},
		{"redis://h:1/2", Topology{network: "tcp", addr: "h:1", db: 2}},
		{"redis://h:1/?db=2", Topology{network: "tcp", addr: "h:1", db: 2}},
		{"redis://[::1]:7", Topology{network: "tcp", addr: "[::1]:7"}},
		{"redis://:p%40ss@h", Topology{network: "tcp", addr: "h:6379", password: "p@ss"}},
		{"redis://u:p@h?dial_timeout=500ms", Topology{network: "tcp", addr: "h:6379", username: "u", password: "p", dialTimeout: 500 * time.Millisecond}},
		{"redis+sentinel://a,b:7/main", Topology{kind: sentinel, network: "tcp", addrs: []string{"a:26379", "b:7"}, master: "main"}},
		{
			"redis+sentinel://u:p@a/main/3?sentinel_user=su&sentinel_password=sp",
			Topology{
				kind: sentinel, network: "tcp", addrs: []string{"a:26379"}, master: "main", db: 3,
				username: "u", password: "p", sentinelUser: "su", sentinelPassword: "sp",
			},
		},
		{"redis+cluster://:p@[::1]:7,b", Topology{kind: cluster, network: "tcp", addrs: []string{"[::1]:7", "b:6379"}, password: "p"}},
		{"unix:///run/r.sock", Topology{network: "unix", addr: "/run/r.sock"}},
		{"unix://u:p@/run/r.sock?db=3", Topology{network: "unix", addr: "/run/r.sock", username: "u", password: "p", db: 3}},
	} {
		got, err := ParseURL(tc.url)
		if err != nil {
			t.Errorf("%s: %v", tc.url, err)
			continue
		}
		if tc.want.dialTimeout == 0 {
			tc.want.dialTimeout = defaultDialTimeout
		}
		tc.want.redacted = got.redacted
		if !reflect.DeepEqual(*got, tc.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tc.url, struct{ Topology }{*got}, struct{ Topology }{tc.want})
		}
	}
}

func TestParseURLNamesTheProblem(t *testing.T) {
	pem := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(pem, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		url  string
		want []string
	}{
		{"", []string{"must start with redis://"}},
		{"localhost:6379", []string{"must start with redis://"}},
		{"http://localhost", []string{"must start with redis://"}},
		{"redis://h:99999", []string{"port"}},
		{"redis://h/one", []string{"database", "number"}},
		{"redis://h/1/2", []string{"database", "number"}},
		{"redis://h?db=x", []string{"db:", "number"}},
		{"redis://h/1?db=2", []string{"db:", "in the path already"}},
		{"redis://user@h", []string{"user without a password", "redis://:password@host"}},
		{"redis://h?db=1&db=2", []string{"db is given more than once"}},
		{"redis://h?pool_size=3", []string{`unknown option "pool_size"`, "known are db, dial_timeout, sentinel_user"}},
		{"redis://h?dial_timeout=5", []string{"dial_timeout", "500ms"}},
		{"redis://h?dial_timeout=-1s", []string{"dial_timeout"}},
		{"redis://h?tls_ca=x", []string{"tls_ca needs TLS", "rediss://"}},
		{"unix:///s?tls_skip_verify=true", []string{"tls_skip_verify needs TLS"}},
		{"rediss://h?tls_ca=/no/such/file", []string{"tls_ca", "/no/such/file"}},
		{"rediss://h?tls_ca=" + pem, []string{"tls_ca", pem, "no PEM certificate"}},
		{"rediss://h?tls_cert=x", []string{"tls_cert and tls_key must be given together"}},
		{"rediss://h?tls_cert=/no/cert&tls_key=/no/key", []string{"tls_cert, tls_key", "/no/cert"}},
		{"rediss://h?tls_skip_verify=maybe", []string{"tls_skip_verify", `"maybe"`}},
		{"redis://a,b", []string{"one host", "redis+cluster://"}},
		{"redis+sentinel://a:26379", []string{"master's name"}},
		{"redis+sentinel://a/main/x", []string{"database", "number"}},
		{"redis+sentinel://a,,b/main", []string{"host"}},
		{"redis+sentinel:///main", []string{"host"}},
		{"redis+sentinel://a/main?sentinel_user=x", []string{"sentinel_user without sentinel_password"}},
		{"redis+cluster://a,b:x", []string{"port"}},
		{"redis+cluster://a/1", []string{"no databases"}},
		{"redis+cluster://a?db=1", []string{"no databases"}},
		{"redis+cluster://a?sentinel_password=x", []string{"sentinel_password needs redis+sentinel://"}},
		{"unix://", []string{"absolute path of a socket"}},
		{"unix://relative/s", []string{"absolute path of a socket"}},
		{"redis://h?db=x&nope=1&dial_timeout=0", []string{"db:", `"nope"`, "dial_timeout"}}, // all at once
	} {
		_, err := ParseURL(tc.url)
		if err == nil || !contains(err, tc.want...) {
			t.Errorf("%s:\n got %v\nwant it to contain %q", tc.url, err, tc.want)
		}
	}
}

// secret is part of every password in the tests below. It has no character that is
// escaped, so that a leak is found by its letters.
const secret = "sEcReT"

func leaks(t *testing.T, raw string) {
	t.Helper()
	top, err := ParseURL(raw)
	if err != nil {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the password: %v", err)
		}
		return
	}
	for _, s := range []string{top.String(), fmt.Sprint(top), fmt.Sprintf("%v %+v %#v %s %q", top, top, top, top, top)} {
		if strings.Contains(s, secret) {
			t.Errorf("%s shows the password: %s", raw, s)
		}
	}
}

func TestPasswordsStayHidden(t *testing.T) {
	// Passwords that were not escaped stray into every part of a URL.
	for _, c := range []string{"", "/", "?", "#", "@", ":", "%", "%zz", "[", "]", "&", "=", ";", " ", "\n", "\x7f", "é", "?x=", "/1?db=", "1/", "12?"} {
		for _, password := range []string{c + secret, secret + c, secret + c + secret, "1" + c + secret} {
			for _, format := range []string{
				"redis://user:%s@host/0", "redis://:%s@host", "rediss://:%s@host:6380/1?tls_skip_verify=1",
				"redis+sentinel://user:%s@host:1,b/m", "redis+sentinel://a,b/m?sentinel_password=%s", "rediss+cluster://:%s@a:1,b:2",
				"unix://:%s@/run/s", "unix://user:%s@/run/s?db=1", "%s@host", "redis:%s@host", "//:%s@host",
			} {
				leaks(t, fmt.Sprintf(format, password))
			}
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"redis://user:pass@localhost:6379/0?dial_timeout=1s", "rediss://:p@h?tls_skip_verify=true&tls_server_name=x",
		"unix://u:p@/run/s?db=1", "redis://[::1]:1", "redis://h/x?db=1",
		"redis+sentinel://u:p@a,b:7/main/3?sentinel_password=x", "redis+cluster://:p@a,[::1]:7",
	} {
		f.Add(s, "p")
	}
	f.Fuzz(func(t *testing.T, raw, password string) {
		top, err := ParseURL(raw)
		if err == nil {
			if _, err := ParseURL(top.String()); err != nil {
				t.Errorf("%q: its redacted form %q is not a URL: %v", raw, top, err)
			}
		}
		leaks(t, "redis://:"+url.QueryEscape(password+secret)+"@h")
		leaks(t, "redis://:"+password+secret+"@h")
	})
}
