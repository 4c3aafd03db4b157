package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// ErrUnfinished is wrapped by what Run and Stop return when handlers were still
// at work at the end of the time that they had.
var ErrUnfinished = errors.New("handlers did not finish in time")

// Handler has the routes of a service and handles its sockets. A *router.Router
// is one.
type Handler interface {
	// RouteDescriptors lists the public routes. It is asked once, at the start.
	RouteDescriptors() []*router.RouteDescriptor
	// ServeSocket starts a socket on conn. It must not block.
	ServeSocket(info router.SocketInfo, conn router.Conn) router.SocketHandler
}

// Service is one instance of a service. See [New].
type Service struct {
	// Immutable.
	name    string
	bp      *backplane.Backplane
	handler Handler
	cfg     Config
	log     *slog.Logger
	settle  time.Duration // see settleTime

	instance string // this node's id; set before streams are accepted

	departed chan struct{} // has a value when a socket has gone since it was last empty
	stopped  chan struct{} // closed when Stop is through

	mu       sync.Mutex
	state    state                // guarded by mu
	unserve  func()               // guarded by mu: ends the acceptance of streams
	sockets  map[*socket]struct{} // guarded by mu: those whose UseClose has not run
	draining bool                 // guarded by mu: new sockets are told to leave at once
	giveUp   context.CancelFunc   // guarded by mu: ends the patience of Stop
	stopErr  error                // set before stopped is closed
}

// state is where a service is in its life.
type state int

const (
	created state = iota
	starting
	serving
	stopping
)

// New makes an instance of the service called name on a backplane. It starts
// nothing and checks nothing: Run and Start report what is wrong with the
// arguments.
func New(name string, bp *backplane.Backplane, h Handler, cfg Config) *Service {
	cfg = cfg.withDefaults()
	return &Service{
		name:     name,
		bp:       bp,
		handler:  h,
		cfg:      cfg,
		log:      cfg.Logger.With("service", name),
		settle:   settleTime,
		departed: make(chan struct{}, 1),
		stopped:  make(chan struct{}),
		sockets:  make(map[*socket]struct{}),
	}
}

// validate reports every problem of New's arguments.
func (s *Service) validate() error {
	var errs []error
	if err := wire.ValidateSlug(s.name); err != nil {
		errs = append(errs, fmt.Errorf("name %w", err))
	}
	if s.bp == nil {
		errs = append(errs, errors.New("the backplane is missing"))
	}
	if s.handler == nil {
		errs = append(errs, errors.New("the handler is missing"))
	}
	if err := s.cfg.validate(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return fmt.Errorf("service %q: %w", s.name, errors.Join(errs...))
	}
	return nil
}

// Run starts the instance, serves until ctx ends, and then stops it as [Service.Stop]
// does, in Config.DrainTimeout plus at most Config.CloseGrace and 2 s. It returns nil
// if all handlers finished in that time, an error that wraps [ErrUnfinished] if not,
// and any other error if the instance could not start or the backplane was closed
// under it. A service runs once.
func (s *Service) Run(ctx context.Context) error {
	if err := s.Start(ctx); err != nil {
		return unlessEnded(ctx, err)
	}
	background := context.WithoutCancel(ctx)
	select {
	case <-ctx.Done():
		return s.Stop(background)
	case <-s.stopped: // by Stop
		return s.stopErr
	case <-s.bp.Done():
		ended, cancel := context.WithCancel(background)
		cancel()
		return errors.Join(fmt.Errorf("service %q: the backplane was closed", s.name), s.Stop(ended))
	}
}

// unlessEnded drops the error of what failed because it was not to go on.
func unlessEnded(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// SocketCount counts the sockets whose UseClose handlers have not run yet.
func (s *Service) SocketCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}
