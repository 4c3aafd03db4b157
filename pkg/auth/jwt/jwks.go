package jwt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxKeySet is the largest key set that is read, in bytes.
const maxKeySet = 256 << 10

// errNoKeys: the keys that would tell whether a token is good cannot be had.
var errNoKeys = errors.New("the keys of the issuer cannot be fetched")

// keySet is the JSON Web Key Set of an issuer, fetched when needed.
type keySet struct {
	cfg Config

	mu      sync.Mutex // guards what follows
	keys    []key
	fetched time.Time     // when keys were fetched; zero: never
	tried   time.Time     // when the last try to fetch them began
	failure error         // of the last try
	trying  chan struct{} // closed when the try that is under way ends; nil: there is none
}

func newKeySet(cfg Config) *keySet { return &keySet{cfg: cfg} }

// find returns the keys that fit a token. An unknown key id may mean that the
// issuer has new keys, so it fetches them, unless it did a moment ago.
func (s *keySet) find(ctx context.Context, alg, id string) ([]key, error) {
	for asked := false; ; asked = true {
		s.mu.Lock()
		now := time.Now()
		good := !s.fetched.IsZero() && now.Sub(s.fetched) < s.cfg.JWKSMaxStale
		var found []key
		if good {
			found = fitting(s.keys, alg, id)
		}
		if !asked && now.Sub(s.fetched) >= s.cfg.JWKSRefresh {
			s.startFetch(now)
		}
		failure := s.failure
		if len(found) > 0 || asked || !s.startFetch(now) {
			s.mu.Unlock()
			return s.judge(found, good, failure)
		}
		trying := s.trying
		s.mu.Unlock()
		select {
		case <-trying:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errNoKeys, ctx.Err())
		}
	}
}

// judge says what it means that these keys were found. Without a key, the client is
// to blame only if the keys are those that the issuer has now.
func (s *keySet) judge(found []key, good bool, failure error) ([]key, error) {
	switch {
	case len(found) > 0:
		return found, nil
	case failure != nil:
		return nil, fmt.Errorf("%w: %w", errNoKeys, failure)
	case !good:
		return nil, errNoKeys
	default:
		return nil, bad("the token's key is unknown")
	}
}

func fitting(keys []key, alg, id string) (found []key) {
	for _, k := range keys {
		// A key without an id is tried for every token, but a token that names one
		// means the key of that name.
		if k.fits(alg, id) && (id == "" || k.id == id) {
			found = append(found, k)
		}
	}
	return found
}

// startFetch begins to fetch the keys, unless that is under way. It reports whether
// it is, which it is not when the last try was a moment ago. mu is held.
func (s *keySet) startFetch(now time.Time) bool {
	if s.trying != nil {
		return true
	}
	if !s.tried.IsZero() && now.Sub(s.tried) < s.cfg.JWKSMinInterval {
		return false
	}
	done := make(chan struct{})
	s.tried, s.trying = now, done
	go func() {
		defer close(done)
		keys, err := s.fetch()
		s.mu.Lock()
		s.trying, s.failure = nil, err
		if err == nil {
			s.keys, s.fetched = keys, now
		}
		s.mu.Unlock()
		if s.cfg.Fetched != nil {
			s.cfg.Fetched(len(keys), err)
		}
	}()
	return true
}

// fetch asks the issuer for its keys.
func (s *keySet) fetch() ([]key, error) {
	// Not for one client: its impatience must not leave the others without keys.
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.JWKSTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.JWKSURL, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.cfg.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", s.cfg.JWKSURL, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeySet {
		return nil, fmt.Errorf("%s answers more than %d bytes", s.cfg.JWKSURL, maxKeySet)
	}
	keys, err := parseKeySet(text)
	if err != nil {
		return nil, fmt.Errorf("what %s answers cannot be used: %w", s.cfg.JWKSURL, err)
	}
	return keys, nil
}
