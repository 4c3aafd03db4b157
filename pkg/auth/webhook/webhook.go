package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Defaults of [Config].
const (
	DefaultTimeout     = 3 * time.Second
	DefaultCacheTTL    = 10 * time.Second
	DefaultCacheSize   = 10_000
	DefaultMaxRequests = 100
)

// DefaultHeaders are the headers that the endpoint gets unless Config.Headers says
// otherwise.
func DefaultHeaders() []string { return []string{"Authorization", "Cookie", "Origin", "User-Agent"} }

// Method is that of the identities that the endpoint establishes.
const Method = "webhook"

// maxAnswer is the largest answer that is read, in bytes.
const maxAnswer = 16 << 10

// Config configures a [Hook]. A zero field means its default.
type Config struct {
	// URL of the endpoint. Required.
	URL string
	// Key is sent as a bearer token, so that the endpoint knows who asks. Default:
	// none is sent.
	Key string
	// Headers names the handshake headers that the endpoint gets. Default:
	// [DefaultHeaders].
	Headers []string
	// Timeout bounds a question. Default 3 s.
	Timeout time.Duration
	// CacheTTL is how long an answer counts for the same question; a client that is
	// locked out may connect for that long. Questions that are the same and under way
	// at once are asked once. Default 10 s; negative: every handshake is asked about.
	CacheTTL time.Duration
	// CacheSize is how many answers are kept. Default 10,000.
	CacheSize int
	// MaxRequests is how many questions may be under way; more wait. Default 100.
	MaxRequests int
	// Client asks. Default: one of its own, that follows no redirect.
	Client *http.Client
}

// Hook asks the endpoint. It is an [auth.Authenticator] and an [auth.Renewer]. It
// judges every handshake, so that only the last one of auth.First can be it.
type Hook struct {
	cfg    Config
	cache  *cache
	flight singleflight.Group // of questions under way, by their hash
}

var (
	_ auth.Authenticator = (*Hook)(nil)
	_ auth.Renewer       = (*Hook)(nil)
)

// New makes a Hook. It asks nothing yet.
func New(cfg Config) (*Hook, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	cfg.CacheTTL = cmp.Or(cfg.CacheTTL, DefaultCacheTTL)
	cfg.CacheSize = cmp.Or(cfg.CacheSize, DefaultCacheSize)
	cfg.MaxRequests = cmp.Or(cfg.MaxRequests, DefaultMaxRequests)
	if cfg.Headers == nil {
		cfg.Headers = DefaultHeaders()
	}
	var errs []error
	if u, err := url.Parse(cfg.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		errs = append(errs, errors.New("webhook.Config.URL: must be an http or https URL without a password"))
	}
	if cfg.Timeout < 0 || cfg.CacheSize < 0 || cfg.MaxRequests < 0 {
		errs = append(errs, errors.New("webhook.Config: Timeout, CacheSize and MaxRequests must be positive"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{
			Transport: &http.Transport{
				MaxConnsPerHost: cfg.MaxRequests, MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &Hook{cfg: cfg, cache: newCache(cfg.CacheSize)}, nil
}

// question is what the endpoint gets.
type question struct {
	Gateway string              `json:"gateway,omitempty"`
	Path    string              `json:"path,omitempty"`
	Client  string              `json:"client,omitempty"` // address without port
	Headers map[string][]string `json:"headers"`
	Token   string              `json:"token,omitempty"` // of a renewal
	User    string              `json:"user,omitempty"`  // who renews
}

// Authenticate implements [auth.Authenticator].
func (h *Hook) Authenticate(ctx context.Context, s *auth.Handshake) (wire.Identity, error) {
	q := question{Gateway: s.Gateway, Path: s.Path, Client: s.ClientAddr, Headers: map[string][]string{}}
	if host, _, err := net.SplitHostPort(s.ClientAddr); err == nil {
		q.Client = host
	}
	for _, name := range h.cfg.Headers {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if v := s.Header[name]; len(v) > 0 {
			q.Headers[name] = v
		}
	}
	return h.ask(ctx, q)
}

// Renew implements [auth.Renewer].
func (h *Hook) Renew(ctx context.Context, current wire.Identity, token string) (wire.Identity, error) {
	if current.Method != Method {
		return wire.Identity{}, auth.ErrNoCredential
	}
	return h.ask(ctx, question{Headers: map[string][]string{}, Token: token, User: current.User})
}

// ask returns the endpoint's answer, or the one that it gave to the same question a
// moment ago, or the one that somebody else with the same question waits for.
func (h *Hook) ask(ctx context.Context, q question) (wire.Identity, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return wire.Identity{}, err
	}
	if h.cfg.CacheTTL < 0 {
		v, err := h.post(ctx, body)
		if err != nil {
			return wire.Identity{}, err
		}
		return v.identity()
	}
	hash := sha256.Sum256(body)
	if v, ok := h.cache.get(hash, time.Now()); ok {
		return v.identity()
	}
	answer := h.flight.DoChan(string(hash[:]), func() (any, error) {
		return h.fetch(context.WithoutCancel(ctx), hash, body) // who asked first may leave before the others
	})
	select {
	case a := <-answer:
		if v, ok := a.Val.(verdict); ok && a.Err == nil {
			return v.identity()
		}
		return wire.Identity{}, a.Err
	case <-ctx.Done():
		return wire.Identity{}, fmt.Errorf("the webhook: %w", ctx.Err())
	}
}

// fetch asks the endpoint, for all who have that question, and keeps the answer. A
// panic of Config.Client is an error, which lets nobody in.
func (h *Hook) fetch(ctx context.Context, hash [sha256.Size]byte, body []byte) (v verdict, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the webhook: its client panicked")
		}
	}()
	if v, ok := h.cache.get(hash, time.Now()); ok { // since this was looked for
		return v, nil
	}
	v, err = h.post(ctx, body)
	if err == nil {
		h.cache.put(hash, v, time.Now().Add(h.cfg.CacheTTL))
	}
	return v, err
}

// verdict is an answer of the endpoint.
type verdict struct {
	Allow   *bool           `json:"allow"`
	User    string          `json:"user"`
	Claims  json.RawMessage `json:"claims"`
	Expires float64         `json:"expires"`
}

// identity is what a verdict says about the client.
func (v verdict) identity() (wire.Identity, error) {
	if !*v.Allow {
		return wire.Identity{}, &auth.Refusal{Code: auth.Denied, Text: "you may not connect"}
	}
	i := wire.Identity{User: v.User, Method: Method, Claims: v.Claims}
	if v.Expires > 0 {
		i.Expires = time.UnixMilli(int64(v.Expires * 1000)).UTC()
		if !time.Now().Before(i.Expires) {
			return wire.Identity{}, &auth.Refusal{Code: auth.Expired, Text: "your session is over"}
		}
	}
	return i, nil
}

// post asks the endpoint. Its errors have nothing of the question, nor the URL.
func (h *Hook) post(ctx context.Context, body []byte) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return verdict{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if h.cfg.Key != "" {
		req.Header.Set("Authorization", "Bearer "+h.cfg.Key)
	}
	resp, err := h.cfg.Client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL, whose query may hold a secret
		}
		return verdict{}, fmt.Errorf("the webhook: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		no := false
		return verdict{Allow: &no}, nil
	default:
		return verdict{}, fmt.Errorf("the webhook answers %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return verdict{}, fmt.Errorf("the webhook: %w", err)
	}
	return parseVerdict(text)
}

// parseVerdict reads an answer.
func parseVerdict(text []byte) (verdict, error) {
	var v verdict
	if len(text) > maxAnswer {
		return v, fmt.Errorf("the webhook answers more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(text, &v); err != nil || v.Allow == nil {
		return verdict{}, errors.New("the webhook's answer is not JSON with allow, user, claims and expires")
	}
	if string(v.Claims) == "null" {
		v.Claims = nil
	}
	if v.User != "" {
		if err := auth.CheckUser(v.User); err != nil {
			return verdict{}, fmt.Errorf("the webhook: %w", err)
		}
	}
	if err := auth.CheckClaims(v.Claims); err != nil {
		return verdict{}, fmt.Errorf("the webhook: %w", err)
	}
	if v.Expires < 0 || v.Expires > maxExpires {
		return verdict{}, errors.New("the webhook's expires is not in seconds since 1970")
	}
	return v, nil
}

// maxExpires is in the year 5138: what is later was probably meant in milliseconds.
const maxExpires = 1e11
