package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/push/pushapi"
)

// apiFlags say who may use the push API.
type apiFlags struct {
	APIKeys     string `name:"api-keys" secret:"" placeholder:"NAME:KEY,..." help:"Who may use the push API: names, and keys of 16 bytes or more. Whoever has the internal key may, too."`
	APIKeysFile string `name:"api-keys-file" placeholder:"FILE" help:"The same in a file, one NAME:KEY a line; it is read at the start."`
}

// internalCaller is whoever has the internal key.
const internalCaller = "internal"

// keys are the keys of the API by name.
func (f *apiFlags) keys(internalKey string) (map[string]string, error) {
	text, err := secretOf("--api-keys", f.APIKeys, f.APIKeysFile)
	if err != nil {
		return nil, err
	}
	keys := map[string]string{}
	if internalKey != "" {
		keys[internalCaller] = internalKey
	}
	for n, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ',' }) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, key, ok := strings.Cut(line, ":")
		switch {
		case !ok || name == "":
			return nil, fmt.Errorf("--api-keys: entry %d is not of the form NAME:KEY", n+1)
		case keys[name] != "":
			return nil, fmt.Errorf("--api-keys: %q is there twice, or is the internal key's name", name)
		}
		keys[name] = key
	}
	return keys, nil
}

// pushAPI is the push API of a process, whose listener is open before there is a
// backplane.
type pushAPI struct {
	config pushapi.Config
	api    atomic.Pointer[pushapi.API]
}

func (f *apiFlags) openAPI(internalKey string, ready func() error, log *slog.Logger, called func(method, caller, code string, took time.Duration)) (*pushAPI, error) {
	keys, err := f.keys(internalKey)
	if err != nil {
		return nil, err
	}
	for name, key := range keys {
		if len(key) < pushapi.MinKey {
			return nil, fmt.Errorf("--api-keys: the key of %q has %d bytes; want %d or more", name, len(key), pushapi.MinKey)
		}
	}
	return &pushAPI{config: pushapi.Config{Keys: keys, Ready: ready, Logger: log, Called: called}}, nil
}

// serve has requests served from now on.
func (a *pushAPI) serve(bp *backplane.Backplane) error {
	api, err := pushapi.New(push.Of(bp), a.config)
	if err != nil {
		return err
	}
	a.api.Store(api)
	return nil
}

// ServeHTTP implements [http.Handler].
func (a *pushAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	api := a.api.Load()
	if api == nil {
		pushapi.RefuseUnready(w, r, "the gateway has not joined the backplane yet")
		return
	}
	api.ServeHTTP(w, r)
}

func (a *pushAPI) mounts() []mount {
	var mounts []mount
	for _, pattern := range pushapi.Patterns() {
		mounts = append(mounts, mount{pattern: pattern, handler: a, guarded: true})
	}
	return mounts
}

// apiProtocols are those of the internal listener: gRPC needs HTTP/2, and there is no
// TLS.
func apiProtocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &p
}
