package pushapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"

	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/push/pushapi/v1/pushv1connect"
)

// API is an [http.Handler] of the paths that Patterns lists.
type API struct {
	// immutable
	hub     *push.Hub
	cfg     Config
	callers []caller
	mux     *http.ServeMux
	errors  *connect.ErrorWriter

	memory memory
	later  later
}

// caller is who a key belongs to.
type caller struct {
	name string
	key  [sha256.Size]byte // its hash
}

var _ pushv1connect.PushServiceHandler = (*API)(nil)

// New makes an API that pushes through a hub.
func New(hub *push.Hub, cfg Config) (*API, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &API{hub: hub, cfg: cfg, mux: http.NewServeMux()}
	for _, name := range slices.Sorted(maps.Keys(cfg.Keys)) {
		a.callers = append(a.callers, caller{name, sha256.Sum256([]byte(cfg.Keys[name]))})
	}
	a.memory.init(cfg.Remember, cfg.RememberFor, a.defect)
	options := []connect.HandlerOption{
		connect.WithReadMaxBytes(cfg.MaxRequestBytes),
		connect.WithInterceptors(connect.UnaryInterceptorFunc(a.observe)),
		connect.WithIdempotency(connect.IdempotencyUnknown), // no GET: a page of the same name asks with no Origin then
		connect.WithRecover(func(_ context.Context, _ connect.Spec, _ http.Header, panicked any) error {
			return a.defect(panicked)
		}),
	}
	a.errors = connect.NewErrorWriter(options...)
	a.mux.Handle(pushv1connect.NewPushServiceHandler(a, options...))
	reflector := grpcreflect.NewStaticReflector(pushv1connect.PushServiceName)
	a.mux.Handle(grpcreflect.NewHandlerV1(reflector))
	a.mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector))
	a.mux.Handle(grpchealth.NewHandler(a))
	return a, nil
}

// defect is the answer after a panic, which it logs.
func (a *API) defect(panicked any) error {
	a.cfg.Logger.Error("a call of the push API panicked", "panic", panicked, "stack", string(debug.Stack()))
	return connect.NewError(connect.CodeInternal, errors.New("a defect of the gateway"))
}

// Patterns are those of [http.ServeMux] that the API has to be mounted under.
func Patterns() []string {
	return []string{
		"/" + pushv1connect.PushServiceName + "/", "/" + grpchealth.HealthV1ServiceName + "/",
		"/" + grpcreflect.ReflectV1ServiceName + "/", "/" + grpcreflect.ReflectV1AlphaServiceName + "/",
	}
}

// callerKey is what a request's caller is in its context under.
type callerKey struct{}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	name, err := a.authenticate(r)
	if err != nil {
		status := http.StatusForbidden
		if connect.CodeOf(err) == connect.CodeUnauthenticated {
			status = http.StatusUnauthorized
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		a.cfg.Called(methodOf(r.URL.Path), "", connect.CodeOf(err).String(), time.Since(start))
		if a.errors.IsSupported(r) {
			_ = a.errors.Write(w, r, err) // the caller is gone
			return
		}
		http.Error(w, err.Error(), status)
		return
	}
	a.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, name)))
}

// authenticate returns the name of the caller.
func (a *API) authenticate(r *http.Request) (name string, err error) {
	if len(a.callers) == 0 {
		if r.Header.Get("Origin") != "" {
			return "", connect.NewError(connect.CodePermissionDenied, errors.New("web pages need a key; configure one"))
		}
		return "", nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token == "" || !strings.EqualFold(scheme, "Bearer") {
		return "", connect.NewError(connect.CodeUnauthenticated, errors.New("send a key as a bearer token"))
	}
	got := sha256.Sum256([]byte(token)) // of one length, so that the comparison takes one time
	for _, c := range a.callers {
		if subtle.ConstantTimeCompare(got[:], c.key[:]) == 1 {
			name = c.name
		}
	}
	if name == "" {
		return "", connect.NewError(connect.CodeUnauthenticated, errors.New("nobody has that key"))
	}
	return name, nil
}

// observe bounds and reports calls.
func (a *API) observe(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		start := time.Now()
		timeout := a.cfg.Timeout
		if _, ok := ctx.Deadline(); ok {
			timeout = maxDeadline
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		response, err := next(ctx, r)
		code := "ok"
		if err != nil {
			code = connect.CodeOf(err).String()
		}
		a.cfg.Called(methodOf(r.Spec().Procedure), callerOf(ctx), code, time.Since(start))
		return response, err
	}
}

func callerOf(ctx context.Context) string {
	name, _ := ctx.Value(callerKey{}).(string)
	return name
}

// methodOf names a method of the push service; "other" for what is none, so that what
// strangers ask for makes no new metric.
func methodOf(path string) string {
	method, ok := strings.CutPrefix(path, "/"+pushv1connect.PushServiceName+"/")
	methods := pushMethods()
	if ok && slices.Contains(methods, method) {
		return method
	}
	return "other"
}

func pushMethods() []string {
	return []string{"Push", "PushMany", "Disconnect", "GetSocket", "ListSockets", "Presence", "Join", "Leave"}
}

// Check implements [grpchealth.Checker].
func (a *API) Check(_ context.Context, r *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	if r.Service != "" && r.Service != pushv1connect.PushServiceName {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("no such service"))
	}
	status := grpchealth.StatusServing
	if a.cfg.Ready() != nil {
		status = grpchealth.StatusNotServing
	}
	return &grpchealth.CheckResponse{Status: status}, nil
}
