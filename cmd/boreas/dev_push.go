package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/boreas-ws/boreas/pkg/backplane"
)

// devInternalListen is where `boreas push` looks if it is not told where.
const devInternalListen = "127.0.0.1:9090"

// listenInternal binds the address of the push API. One that the flag gives must be
// free, and on loopback.
func (c *devCmd) listenInternal(ctx context.Context) (net.Listener, error) {
	const flag = "--internal-listen"
	if c.InternalListen == "" {
		if l, err := listen(ctx, flag, devInternalListen); err == nil {
			return l, nil
		}
		return listen(ctx, flag, "127.0.0.1:0")
	}
	l, err := listen(ctx, flag, c.InternalListen)
	if err != nil {
		return nil, err
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		_ = l.Close()
		return nil, usageError{fmt.Errorf("%s: %v can be reached from other machines; give a loopback address", flag, l.Addr())}
	}
	return l, nil
}

// devPush is the push API of `boreas dev`. It has a node of its own, which stays when
// the page kills a gateway.
type devPush struct {
	address   string
	key       string // made for this run
	backplane *backplane.Backplane
	server    *http.Server
}

func startDevPush(p *process, redis string, l net.Listener) (*devPush, error) {
	ready := func() error { return nil }
	d := &devPush{address: l.Addr().String(), key: rand.Text()}
	api, err := new(apiFlags).openAPI(d.key, ready, p.logger, nil)
	if err != nil {
		return nil, err
	}
	d.backplane, err = backplane.Open(p.ctx, redis, backplane.Config{NodeID: "api", Logger: p.logger})
	if err != nil {
		return nil, err
	}
	if err := api.serve(d.backplane); err != nil {
		return nil, errors.Join(err, closeBackplane(d.backplane))
	}
	d.server = newHTTPServer(internalHandler(ready, d.key, api.mounts()...), httpLimits{}, p.logger)
	d.server.Protocols = apiProtocols()
	go serveInternal(d.server, l, p.logger)
	return d, nil
}

func (d *devPush) close() error {
	return errors.Join(d.server.Close(), closeBackplane(d.backplane))
}

// commands push to alice, one a line: by this program, and by curl.
func (d *devPush) commands() []string {
	return []string{
		fmt.Sprintf(`boreas push --api http://%s --api-key %s --user alice --path /notify '{"text":"hi from boreas push"}'`, d.address, d.key),
		fmt.Sprintf(`curl -fsS http://%s/boreas.push.v1.PushService/Push -H 'Authorization: Bearer %s' `+
			`-H 'Content-Type: application/json' -d '{"to":{"user":"alice"},"path":"/notify","data":{"text":"hi from curl"}}'`, d.address, d.key),
	}
}
