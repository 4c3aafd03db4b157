package main

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
)

// mount is something more that the internal listener serves: a pattern of
// [http.ServeMux] and its handler.
type mount struct {
	pattern string
	handler http.Handler
	guarded bool // the handler asks for keys itself
}

// internalHandler serves what operators and backends need and clients must not
// reach. ready returns nil while the process should get new connections; its error
// is the body of the answer.
//
// /livez answers as long as the process can answer at all: restarting it would
// not mend anything else, least of all an unreachable Redis. It and /readyz are
// open; everything else, the mounts included, wants the key as a bearer token if
// there is one.
func internalHandler(ready func() error, key string, mounts ...mount) http.Handler {
	guarded := http.NewServeMux()
	guarded.HandleFunc("/debug/pprof/", pprof.Index)
	guarded.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	guarded.HandleFunc("/debug/pprof/profile", pprof.Profile)
	guarded.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	guarded.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux := http.NewServeMux()
	for _, m := range mounts {
		if m.guarded {
			mux.Handle(m.pattern, m.handler)
		} else {
			guarded.Handle(m.pattern, m.handler)
		}
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "alive")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("/", requireKey(key, guarded))
	return mux
}

// requireKey lets those requests through that bring the key; all if it is empty.
func requireKey(key string, next http.Handler) http.Handler {
	if key == "" {
		return next
	}
	want := sha256.Sum256([]byte(key))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(token)) // of one length, so that the comparison takes one time
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "send the internal key as a bearer token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// minKey is the least length of a key, in bytes: shorter ones can be guessed.
const minKey = 16

// checkInternalKey reports why the internal listener must not be opened at an
// address with that key.
func checkInternalKey(key string, at net.Addr) error {
	tcp, ok := at.(*net.TCPAddr)
	switch local := ok && tcp.IP.IsLoopback(); {
	case key != "" && len(key) < minKey:
		return fmt.Errorf("--internal-key: %d bytes; want %d or more", len(key), minKey)
	case key == "" && !local:
		return fmt.Errorf("--internal-listen: %v can be reached from other machines; give it an --internal-key, or a loopback address", at)
	}
	return nil
}

// serveInternal serves on the internal listener until it is closed.
func serveInternal(s *http.Server, l net.Listener, logger *slog.Logger) {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		logger.Error("the internal listener failed", "error", err)
	}
}

// httpLimits bound requests before they are served. A zero field means its default.
type httpLimits struct {
	timeout     time.Duration // for a TLS handshake, for headers, and for a body
	headerBytes int
}

const defaultMaxHeaderBytes = 16 << 10

// newHTTPServer bounds what a client can hold before its request is read. There
// is no write timeout: WebSockets and CPU profiles are long answers.
func newHTTPServer(h http.Handler, limits httpLimits, logger *slog.Logger) *http.Server {
	timeout := cmp.Or(limits.timeout, gateway.DefaultHandshakeTimeout)
	return &http.Server{
		Handler:           awaitBody(h, timeout),
		ReadHeaderTimeout: timeout,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    cmp.Or(limits.headerBytes, defaultMaxHeaderBytes),
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// awaitBody bounds the wait for a request's body: even an answer that does not need
// it, such as 404, is held back until it has come. The few that are awaited are small.
func awaitBody(next http.Handler, timeout time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout)) // fails only where nothing is to wait for
		}
		next.ServeHTTP(w, r)
	})
}
