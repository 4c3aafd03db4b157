package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestInternalKey(t *testing.T) {
	const key = "0123456789abcdef"
	served := mount{pattern: "POST /tickets", handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a ticket") })}
	ready := func() error { return errors.New("not yet") }
	for _, test := range []struct {
		key, authorization, method, path string
		status                           int
	}{
		{"", "", "GET", "/livez", 200},
		{"", "", "GET", "/readyz", 503},
		{"", "", "GET", "/debug/pprof/", 200},
		{"", "", "POST", "/tickets", 200},
		{"", "", "GET", "/", 404},
		{key, "", "GET", "/livez", 200},
		{key, "", "GET", "/readyz", 503},
		{key, "", "GET", "/debug/pprof/", 401},
		{key, "", "GET", "/debug/pprof/cmdline", 401},
		{key, "", "POST", "/tickets", 401},
		{key, "", "GET", "/", 401},
		{key, "", "POST", "/livez", 401},
		{key, "Bearer", "POST", "/tickets", 401},
		{key, "Bearer ", "POST", "/tickets", 401},
		{key, "Bearer " + key[1:], "POST", "/tickets", 401},
		{key, "Bearer " + key + "0", "POST", "/tickets", 401},
		{key, "Basic " + key, "POST", "/tickets", 401},
		{key, "Bearer " + key, "POST", "/tickets", 200},
		{key, "bearer " + key, "GET", "/debug/pprof/cmdline", 200},
		{key, "Bearer " + key, "GET", "/tickets", 405},
	} {
		r := httptest.NewRequest(test.method, test.path, http.NoBody)
		if test.authorization != "" {
			r.Header.Set("Authorization", test.authorization)
		}
		w := httptest.NewRecorder()
		internalHandler(ready, test.key, served).ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s %s with key %q and %q: %d; want %d", test.method, test.path, test.key, test.authorization, w.Code, test.status)
		}
		if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%s %s: status %d with WWW-Authenticate %q", test.method, test.path, w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
}

func TestCheckInternalKey(t *testing.T) {
	for _, test := range []struct {
		ip, key, wrong string
	}{
		{"127.0.0.1", "", ""},
		{"127.1.2.3", "", ""},
		{"::1", "", ""},
		{"0.0.0.0", "", "--internal-key"},
		{"::", "", "--internal-key"},
		{"10.0.0.1", "", "--internal-key"},
		{"10.0.0.1", "0123456789abcdef", ""},
		{"127.0.0.1", "0123456789abcde", "15 bytes"},
	} {
		err := checkInternalKey(test.key, &net.TCPAddr{IP: net.ParseIP(test.ip), Port: 9090})
		if (err != nil) != (test.wrong != "") || err != nil && (!strings.Contains(err.Error(), test.wrong) || strings.Contains(err.Error(), "abc")) {
			t.Errorf("%s with key %q: %v; want %q", test.ip, test.key, err, test.wrong)
		}
	}
}
