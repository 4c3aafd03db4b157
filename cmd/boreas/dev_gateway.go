package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// devRestart is how long a gateway that was killed stays away.
const devRestart = 3 * time.Second

// devGateway is one gateway of `boreas dev`, which the page can kill.
type devGateway struct {
	id      wire.NodeID
	address string
	start   func(ctx context.Context) (*edge, error)
	kill    chan struct{} // capacity 1
	logger  *slog.Logger
}

// run serves until ctx ends; each time that the gateway is killed, with a new one.
func (d *devGateway) run(ctx context.Context, l net.Listener, e *edge) error {
	for {
		killed, err := d.serve(ctx, l, e)
		if !killed {
			return err
		}
		d.logger.Info("gateway was killed", "node", d.id, "back_in", devRestart)
		select {
		case <-time.After(devRestart):
		case <-ctx.Done():
			return nil
		}
		if l, err = listen(ctx, "gateway", d.address); err != nil {
			return err
		}
		if e, err = d.start(ctx); err != nil {
			return errors.Join(err, l.Close())
		}
	}
}

// serve runs one incarnation until ctx ends or it is killed.
func (d *devGateway) serve(ctx context.Context, l net.Listener, e *edge) (killed bool, err error) {
	ended := make(chan error, 1)
	go func() { ended <- e.run(ctx, l) }()
	select {
	case err := <-ended:
		return false, err
	case <-d.kill:
	}
	// Its node ends without a goodbye: to all others that is a crash.
	now, cancel := context.WithCancel(ctx)
	cancel()
	_ = e.backplane.Close(now)
	<-ended
	return true, nil
}

// devKiller serves DELETE /dev/gateways/{node}, for the page of this address only.
func devKiller(gateways []*devGateway) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("DELETE /dev/gateways/{node}", func(w http.ResponseWriter, r *http.Request) {
		for _, d := range gateways {
			if string(d.id) != r.PathValue("node") {
				continue
			}
			select {
			case d.kill <- struct{}{}:
			default: // it is about to be, or away
			}
			w.WriteHeader(http.StatusAccepted)
			return
		}
		http.Error(w, fmt.Sprintf("there is no gateway %q", r.PathValue("node")), http.StatusNotFound)
	})
	return http.NewCrossOriginProtection().Handler(mux)
}
