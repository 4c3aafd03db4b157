package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// fixed answers always the same.
type fixed struct {
	user string
	err  error
}

func (f fixed) Authenticate(context.Context, *auth.Handshake) (wire.Identity, error) {
	return wire.Identity{User: f.user}, f.err
}

func (f fixed) Renew(context.Context, wire.Identity, string) (wire.Identity, error) {
	return wire.Identity{User: f.user}, f.err
}

// TestFirst: the first authenticator that finds a credential decides, also when it
// refuses or cannot tell.
func TestFirst(t *testing.T) {
	nothing := fixed{err: auth.ErrNoCredential}
	bad := fixed{err: &auth.Refusal{Code: auth.BadCredential}}
	down := fixed{err: errors.New("down")}
	alice := fixed{user: "alice"}
	for name, c := range map[string]struct {
		list []auth.Authenticator
		user string
		code auth.Code
	}{
		"the first":                {[]auth.Authenticator{alice, bad}, "alice", ""},
		"the second":               {[]auth.Authenticator{nothing, alice}, "alice", ""},
		"a bad one is final":       {[]auth.Authenticator{bad, alice, auth.None{}}, "", auth.BadCredential},
		"a failure is final":       {[]auth.Authenticator{down, alice, auth.None{}}, "", auth.Unavailable},
		"none of them":             {[]auth.Authenticator{nothing, nothing}, "", auth.NoCredential},
		"no one":                   {nil, "", auth.NoCredential},
		"anonymous clients may in": {[]auth.Authenticator{nothing, auth.None{}}, "", ""},
	} {
		a := auth.First(c.list...)
		i, err := a.Authenticate(t.Context(), &auth.Handshake{})
		check := func(what string) {
			t.Helper()
			r := auth.Judge(err)
			if c.code == "" && (r != nil || i.User != c.user) || c.code != "" && (r == nil || r.Code != c.code) {
				t.Errorf("%s: %s gave %+v, %v", name, what, i, err)
			}
		}
		check("Authenticate")
		if name != "anonymous clients may in" {
			i, err = a.(auth.Renewer).Renew(t.Context(), wire.Identity{}, "token")
			check("Renew")
		}
	}
}

// place takes any credential that it finds for that of its user.
type place struct {
	user    string
	sources auth.Sources
}

func (p place) Sources() auth.Sources { return p.sources }

func (p place) Authenticate(_ context.Context, h *auth.Handshake) (wire.Identity, error) {
	_, err := p.sources.Find(h)
	return wire.Identity{User: p.user}, err
}

// TestSeveralCredentials: of credentials for different authenticators none counts,
// whatever their order, and a cookie counts only alone.
func TestSeveralCredentials(t *testing.T) {
	token := place{"token", auth.Sources{Bearer: true, Cookie: "session"}}
	ticket := place{"ticket", auth.Sources{Query: "ticket"}}
	bearer, cookie, query := http.Header{"Authorization": {"Bearer a"}}, http.Header{"Cookie": {"session=b"}}, url.Values{"ticket": {"c"}}
	for name, c := range map[string]struct {
		h    auth.Handshake
		user string
		code auth.Code
	}{
		"a token":             {auth.Handshake{Header: bearer}, "token", ""},
		"a cookie":            {auth.Handshake{Header: cookie}, "token", ""},
		"a ticket":            {auth.Handshake{Query: query}, "ticket", ""},
		"a ticket and cookie": {auth.Handshake{Header: cookie, Query: query}, "ticket", ""},
		"a ticket and token":  {auth.Handshake{Header: bearer, Query: query}, "", auth.BadCredential},
		"an empty ticket":     {auth.Handshake{Header: cookie, Query: url.Values{"ticket": {""}}}, "", auth.BadCredential},
		"nothing":             {auth.Handshake{}, "anybody", ""},
	} {
		for _, a := range []auth.Authenticator{auth.First(token, ticket, fixed{user: "anybody"}), auth.First(ticket, token, fixed{user: "anybody"})} {
			i, err := a.Authenticate(t.Context(), &c.h)
			code := auth.Code("")
			if r := auth.Judge(err); r != nil {
				code = r.Code
			}
			if code != c.code || err == nil && i.User != c.user {
				t.Errorf("%s: %q, %v; want %q, %q", name, i.User, err, c.user, c.code)
			}
		}
	}
}

func TestSources(t *testing.T) {
	all := auth.Sources{Bearer: true, Subprotocol: "jwt", Query: "token", Cookie: "session"}
	for name, c := range map[string]struct {
		sources auth.Sources
		header  http.Header
		query   string
		want    string
		code    auth.Code
	}{
		"nothing":                {all, nil, "", "", auth.NoCredential},
		"bearer":                 {all, http.Header{"Authorization": {"bearer  t1"}}, "", "t1", ""},
		"basic":                  {all, http.Header{"Authorization": {"Basic t1"}}, "", "", auth.NoCredential},
		"bearer twice":           {all, http.Header{"Authorization": {"Bearer t1", "Bearer t1"}}, "", "", auth.BadCredential},
		"an empty bearer":        {all, http.Header{"Authorization": {"Bearer"}}, "", "", auth.BadCredential},
		"subprotocol":            {all, http.Header{"Sec-Websocket-Protocol": {"velaros-json, boreas.jwt.a.b.c"}}, "", "a.b.c", ""},
		"subprotocol of another": {all, http.Header{"Sec-Websocket-Protocol": {"boreas.ticket.a", "boreas.jwtx.a"}}, "", "", auth.NoCredential},
		"subprotocol twice":      {all, http.Header{"Sec-Websocket-Protocol": {"boreas.jwt.a,boreas.jwt.b"}}, "", "", auth.BadCredential},
		"query":                  {all, nil, "token=t1", "t1", ""},
		"query twice":            {all, nil, "token=t1&token=t2", "", auth.BadCredential},
		"query is off":           {auth.Sources{Bearer: true}, nil, "token=t1", "", auth.NoCredential},
		"cookie":                 {all, http.Header{"Cookie": {"a=b; session=t1"}}, "", "t1", ""},
		"cookie twice":           {all, http.Header{"Cookie": {"session=t1; session=t2"}}, "", "", auth.BadCredential},
		"cookie beside another":  {all, http.Header{"Cookie": {"session=t1"}}, "token=t2", "t2", ""},
		"cookie is off":          {auth.Sources{Bearer: true}, http.Header{"Cookie": {"session=t1"}}, "", "", auth.NoCredential},
		"two places":             {all, http.Header{"Authorization": {"Bearer t1"}}, "token=t1", "", auth.BadCredential},
		"huge":                   {all, nil, "token=" + strings.Repeat("x", auth.MaxCredential+1), "", auth.BadCredential},
	} {
		q, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.sources.Find(&auth.Handshake{Header: c.header, Query: q})
		code := auth.Code("")
		if r := auth.Judge(err); r != nil {
			code = r.Code
		}
		if got != c.want || code != c.code {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestStripQuery(t *testing.T) {
	for raw, want := range map[string]string{
		"":                           "",
		"a=1&b=2":                    "a=1&b=2",
		"ticket=x":                   "",
		"a=1&ticket=x&b=%20&token=y": "a=1&b=%20",
		"%74icket=x&a=1":             "a=1",
		"tickets=1&a=token":          "tickets=1&a=token",
		"a=1;ticket=x":               "",
		"ticket":                     "",
		"%zz=1&token=x":              "%zz=1",
	} {
		if got := auth.StripQuery(raw); got != want {
			t.Errorf("%q becomes %q; want %q", raw, got, want)
		}
	}
}

// FuzzStripQuery: no credential that a query may be read to have is left, and the
// other parameters are.
func FuzzStripQuery(f *testing.F) {
	f.Add("a=1&ticket=x&%74oken=y")
	f.Add("a=1;ticket=x&&=&%")
	f.Fuzz(func(t *testing.T, raw string) {
		before, _ := url.ParseQuery(raw)
		after, _ := url.ParseQuery(auth.StripQuery(raw))
		for _, name := range []string{auth.TicketParameter, auth.TokenParameter} {
			if after.Has(name) {
				t.Errorf("%q still has %s", raw, name)
			}
			before.Del(name)
		}
		if before.Encode() != after.Encode() {
			t.Errorf("%q lost parameters: %v", raw, after)
		}
	})
}

// FuzzSources: no header makes more than an error, and what is found was sent.
func FuzzSources(f *testing.F) {
	f.Add("Bearer x", "boreas.jwt.a.b.c, velaros-json", "session=1")
	f.Fuzz(func(t *testing.T, authorization, subprotocols, cookie string) {
		h := http.Header{"Authorization": {authorization}, "Sec-Websocket-Protocol": {subprotocols}, "Cookie": {cookie}}
		s := auth.Sources{Bearer: true, Subprotocol: "jwt", Cookie: "session"}
		got, err := s.Find(&auth.Handshake{Header: h})
		if (err == nil) != (got != "") || len(got) > auth.MaxCredential {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err == nil && !strings.Contains(authorization+subprotocols+cookie, got) {
			t.Errorf("%q was not sent", got)
		}
	})
}

func TestChecks(t *testing.T) {
	for user, ok := range map[string]bool{
		"alice": true, "ålice@example.com": true, "": false, "a\nb": false, "a\x00": false, "\xff": false, strings.Repeat("a", auth.MaxUser+1): false,
	} {
		if err := auth.CheckUser(user); (err == nil) != ok {
			t.Errorf("user %.20q: %v", user, err)
		}
	}
	for claims, ok := range map[string]bool{
		"": true, "{}": true, ` {"a":1}`: true, "[]": false, "null": false, " ": false, `{"a"`: false, `{}{}`: false,
		`{"a":"` + strings.Repeat("a", auth.MaxClaims) + `"}`: false,
	} {
		if err := auth.CheckClaims([]byte(claims)); (err == nil) != ok {
			t.Errorf("claims %.20q: %v", claims, err)
		}
	}
}
