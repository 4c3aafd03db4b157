package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// group is a set of redis-servers that work together.
type group []*Server

// close ends all of them.
func (g group) close() error {
	var errs []error
	for _, s := range g {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// at returns the server with that address.
func (g group) at(addr string) (*Server, error) {
	for _, s := range g {
		if s.Addr() == addr {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no redis-server has the address %s", addr)
}

// until polls done until it is true, or ctx ends.
func until(ctx context.Context, what string, done func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("redistest: still not: %s: %w", what, context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}

const (
	// MasterName is the name of the master at the sentinels.
	MasterName = "main"
	// groupTimeout bounds the start of a group.
	groupTimeout = 2 * time.Minute
)

// Sentinel is a master with two replicas, watched by three sentinels. A master that
// does not answer for a second is replaced.
type Sentinel struct {
	Servers   []*Server // the first one starts as master
	Sentinels []*Server
	cfg       Config
}

// StartSentinel runs a [Sentinel] for a test, until the test ends. Config.TCP is
// implied.
func StartSentinel(tb TB, cfg Config) *Sentinel {
	tb.Helper()
	s, err := RunSentinel(context.Background(), cfg)
	if err != nil {
		tb.Fatalf("redistest: %v", err)
		return nil
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Logf("redistest: close: %v", err)
		}
	})
	return s
}

// RunSentinel starts a [Sentinel] outside of a test. The caller must Close it. ctx
// bounds the start only.
func RunSentinel(ctx context.Context, cfg Config) (*Sentinel, error) {
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	s := &Sentinel{cfg: cfg}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sentinel) start(ctx context.Context) error {
	cfg := s.cfg
	cfg.TCP = true
	cfg.Args = append([]string{"--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb"}, cfg.Args...)
	if cfg.Password != "" {
		cfg.Args = append(cfg.Args, "--masterauth", cfg.Password)
	}
	for i := range 3 {
		one := cfg
		if i > 0 {
			one.Args = append(append([]string(nil), cfg.Args...), "--replicaof", "127.0.0.1 "+strconv.Itoa(s.Servers[0].port))
		}
		server, err := Run(ctx, one)
		if err != nil {
			return err
		}
		s.Servers = append(s.Servers, server)
	}
	// Sentinels look for replicas when they start, and then only every 10 s.
	if err := until(ctx, "the replicas follow", func() bool { return s.following(ctx, s.Servers[0]) }); err != nil {
		return err
	}
	lines := []string{
		"sentinel monitor " + MasterName + " 127.0.0.1 " + strconv.Itoa(s.Servers[0].port) + " 2",
		"sentinel down-after-milliseconds " + MasterName + " 1000",
		"sentinel failover-timeout " + MasterName + " 3000",
		"sentinel parallel-syncs " + MasterName + " 2",
	}
	if cfg.Password != "" {
		lines = append(lines, "sentinel auth-pass "+MasterName+" "+cfg.Password)
	}
	for range 3 {
		server, err := Run(ctx, Config{TCP: true, TLS: cfg.TLS, sentinel: lines})
		if err != nil {
			return err
		}
		s.Sentinels = append(s.Sentinels, server)
	}
	return s.Settle(ctx)
}

// Close ends all processes.
func (s *Sentinel) Close() error {
	return errors.Join(group(s.Sentinels).close(), group(s.Servers).close())
}

// URL is the address of the group.
func (s *Sentinel) URL() string {
	var addrs []string
	for _, sentinel := range s.Sentinels {
		addrs = append(addrs, sentinel.Addr())
	}
	return s.cfg.TLS.url("redis+sentinel", s.Servers[0].user(), strings.Join(addrs, ","), "/"+MasterName)
}

// Master returns the server that most sentinels take for the master.
func (s *Sentinel) Master(ctx context.Context) (*Server, error) {
	votes := map[string]int{}
	for _, sentinel := range s.Sentinels {
		addr, err := masterOf(ctx, sentinel)
		if err != nil {
			continue
		}
		if votes[addr]++; votes[addr] > len(s.Sentinels)/2 {
			return group(s.Servers).at(addr)
		}
	}
	return nil, errors.New("the sentinels do not agree on a master")
}

// masterOf is the address of the master that a sentinel names.
func masterOf(ctx context.Context, sentinel *Server) (string, error) {
	addr, err := sentinel.Client().Do(ctx, "sentinel", "get-master-addr-by-name", MasterName).StringSlice()
	if err != nil {
		return "", err
	}
	if len(addr) != 2 {
		return "", fmt.Errorf("a sentinel names the master %v", addr)
	}
	return net.JoinHostPort(addr[0], addr[1]), nil
}

// Settle waits until the sentinels know each other and all replicas, and all
// replicas follow the master.
func (s *Sentinel) Settle(ctx context.Context) error {
	return until(ctx, "the sentinels are settled", func() bool {
		master, err := s.Master(ctx)
		if err != nil {
			return false
		}
		if !s.following(ctx, master) {
			return false
		}
		for _, sentinel := range s.Sentinels {
			info := sentinel.Client().Info(ctx, "sentinel").Val()
			if !strings.Contains(info, fmt.Sprintf("status=ok,address=%s,slaves=%d,sentinels=%d",
				master.Addr(), len(s.Servers)-1, len(s.Sentinels))) {
				return false
			}
		}
		return true
	})
}

// following reports whether all other servers follow the master.
func (s *Sentinel) following(ctx context.Context, master *Server) bool {
	for _, server := range s.Servers {
		info := server.Client().Info(ctx, "replication").Val()
		follows := strings.Contains(info, "master_link_status:up") &&
			strings.Contains(info, "master_port:"+strconv.Itoa(master.port)+"\r")
		if server == master && !strings.Contains(info, "role:master") || server != master && !follows {
			return false
		}
	}
	return true
}

// Failover makes a replica the master (SENTINEL FAILOVER) and returns when most
// sentinels know it. A sentinel gives up a failover whose replica is too slow for it,
// and keeps the master: it is asked again.
func (s *Sentinel) Failover(ctx context.Context) error {
	before, err := s.Master(ctx)
	if err != nil {
		return err
	}
	var leader *Server
	if err := until(ctx, "a sentinel takes the failover", func() bool {
		for _, leader = range s.Sentinels {
			if demote(ctx, leader) {
				return true
			}
		}
		return false
	}); err != nil {
		return err
	}
	return until(ctx, "there is another master", func() bool {
		if s.promoted(ctx, before) {
			return true
		}
		if master, err := masterOf(ctx, leader); err == nil && master == before.Addr() {
			demote(ctx, leader) // which refuses while it is at it
		}
		return false
	})
}

// demote asks a sentinel for a failover; it reports whether one begins.
func demote(ctx context.Context, sentinel *Server) bool {
	return sentinel.Client().Do(ctx, "sentinel", "failover", MasterName).Err() == nil
}

// Promoted waits until most sentinels name another master than before, which
// answers as one.
func (s *Sentinel) Promoted(ctx context.Context, before *Server) error {
	return until(ctx, "there is another master", func() bool { return s.promoted(ctx, before) })
}

func (s *Sentinel) promoted(ctx context.Context, before *Server) bool {
	now, err := s.Master(ctx)
	return err == nil && now != before && strings.Contains(now.Client().Info(ctx, "replication").Val(), "role:master")
}
