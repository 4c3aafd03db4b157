package jwt

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Defaults of [Config].
const (
	DefaultLeeway          = 30 * time.Second
	DefaultUserClaim       = "sub"
	DefaultJWKSRefresh     = 15 * time.Minute
	DefaultJWKSMinInterval = 10 * time.Second
	DefaultJWKSMaxStale    = 24 * time.Hour
	DefaultJWKSTimeout     = 5 * time.Second
)

// minSecret is the least length of a secret for HS256 to HS512, in bytes: that of
// the hash of HS256. Shorter ones can be guessed from a token.
const minSecret = 32

// Algorithms are those that can be allowed.
func Algorithms() []string {
	return []string{
		"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
	}
}

// Config configures [Tokens]. A zero field means its default.
type Config struct {
	// Algorithms are the ones that are accepted, of [Algorithms]. Required.
	Algorithms []string
	// Issuer must be the token's iss. Required.
	Issuer string
	// Audience must be among the token's aud. Required: a token that was made for
	// another service must not work here.
	Audience string
	// Leeway is by how much clocks may differ. Default 30 s; negative: none.
	Leeway time.Duration
	// UserClaim is the claim that names the user, a string. Default "sub".
	UserClaim string

	// Secret verifies HS256, HS384 and HS512; at least 32 bytes.
	Secret []byte
	// Keys is PEM: public keys and certificates that verify the other algorithms.
	Keys []byte
	// JWKSURL is where a JSON Web Key Set is fetched from: https, or http on
	// loopback.
	JWKSURL string
	// JWKSRefresh is after how long keys are fetched again. Default 15 min.
	JWKSRefresh time.Duration
	// JWKSMinInterval is the least time between two requests for keys. A token with
	// an unknown key causes one. Default 10 s.
	JWKSMinInterval time.Duration
	// JWKSMaxStale is how long keys are good while no new ones can be fetched.
	// Default 24 h.
	JWKSMaxStale time.Duration
	// JWKSTimeout bounds a request for keys. Default 5 s.
	JWKSTimeout time.Duration
	// Client makes those requests. Default: one that follows no redirect and keeps
	// no connection.
	Client *http.Client

	// Cookie names a cookie that may hold the token. A gateway's check of origins is
	// then all that keeps other sites from using it. Default: none.
	Cookie string
	// Query allows the token in the query parameter "token", which proxies may log.
	// Default: false.
	Query bool

	// Fetched is called after each request for keys. Default: nil.
	Fetched func(keys int, err error)
}

func (c Config) withDefaults() Config {
	c.Leeway = cmp.Or(c.Leeway, DefaultLeeway)
	c.UserClaim = cmp.Or(c.UserClaim, DefaultUserClaim)
	c.JWKSRefresh = cmp.Or(c.JWKSRefresh, DefaultJWKSRefresh)
	c.JWKSMinInterval = cmp.Or(c.JWKSMinInterval, DefaultJWKSMinInterval)
	c.JWKSMaxStale = cmp.Or(c.JWKSMaxStale, DefaultJWKSMaxStale)
	c.JWKSTimeout = cmp.Or(c.JWKSTimeout, DefaultJWKSTimeout)
	if c.Client == nil {
		c.Client = &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DisableKeepAlives:   true,
				TLSHandshakeTimeout: c.JWKSTimeout,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("jwt.Config."+format, args...))
		}
	}
	check(len(c.Algorithms) > 0, "Algorithms: missing; allow some of %s", strings.Join(Algorithms(), ", "))
	symmetric, asymmetric := false, false
	for _, a := range c.Algorithms {
		check(slices.Contains(Algorithms(), a), "Algorithms: %q is unknown; allow some of %s", a, strings.Join(Algorithms(), ", "))
		if strings.HasPrefix(a, "HS") {
			symmetric = true
		} else {
			asymmetric = true
		}
	}
	check(c.Issuer != "", "Issuer: missing")
	check(c.Audience != "", "Audience: missing")
	check(!symmetric || len(c.Secret) >= minSecret, "Secret: %d bytes; HS256 to HS512 need %d or more", len(c.Secret), minSecret)
	check(symmetric || len(c.Secret) == 0, "Secret: no algorithm uses it")
	check(!strings.Contains(string(c.Secret), "-----BEGIN"), "Secret: this is a PEM file; a key that others may know is no secret")
	check(!asymmetric || len(c.Keys) > 0 || c.JWKSURL != "", "Keys, JWKSURL: both missing; %s need keys", strings.Join(c.Algorithms, ", "))
	check(asymmetric || len(c.Keys) == 0 && c.JWKSURL == "", "Keys, JWKSURL: no algorithm uses them")
	if c.JWKSURL != "" {
		check(SafeURL(c.JWKSURL), "JWKSURL: must be an https URL, or http on loopback, without a password")
	}
	check(c.JWKSRefresh > 0 && c.JWKSMinInterval > 0 && c.JWKSMaxStale > 0 && c.JWKSTimeout > 0, "JWKS...: must be positive")
	return errors.Join(errs...)
}

// SafeURL reports whether what comes from a URL can be trusted as much as its host,
// and whether it can be logged.
func SafeURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && loopback
}
