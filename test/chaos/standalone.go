package chaos

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// standalone is a single Redis. Every node reaches it through a proxy of its own.
type standalone struct {
	*redistest.Server

	mu      sync.Mutex
	proxies map[string]*Proxy // by node
}

func startStandalone(ctx context.Context, args ...string) (*standalone, error) {
	args = append([]string{"--enable-debug-command", "yes"}, args...)
	server, err := redistest.Run(ctx, redistest.Config{TCP: true, Args: args})
	if err != nil {
		return nil, err
	}
	return &standalone{Server: server, proxies: map[string]*Proxy{}}, nil
}

func (s *standalone) url(node string) (string, error) {
	p, err := NewProxy("tcp", s.Addr())
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proxies[node] = p
	return "redis://" + p.Addr(), nil
}

// proxy returns the proxy of a node.
func (s *standalone) proxy(node string) *Proxy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proxies[node]
}

func (s *standalone) client() redis.UniversalClient { return s.Client() }

func (s *standalone) servers() []*redistest.Server { return []*redistest.Server{s.Server} }

func (s *standalone) primaries(context.Context) ([]*redistest.Server, error) {
	return []*redistest.Server{s.Server}, nil
}

func (s *standalone) owner(context.Context, string) (*redistest.Server, error) { return s.Server, nil }

func (s *standalone) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.proxies {
		p.Close()
	}
	return s.Server.Close()
}
