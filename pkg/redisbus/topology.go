package redisbus

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// defaultDialTimeout bounds one attempt to connect, TLS handshake included.
const defaultDialTimeout = 2 * time.Second

// kind is how a Redis is organised.
type kind int

const (
	standalone kind = iota // one server
	sentinel               // one master at a time, which sentinels name
	cluster                // many masters, which share the slots
)

// Topology says where Redis is and how to connect to it. [ParseURL] makes one. It
// is immutable, and prints without its password.
type Topology struct {
	kind               kind
	network, addr      string   // of a standalone server
	addrs              []string // of the sentinels, or of the cluster's nodes to ask first
	master             string   // its name at the sentinels
	sentinelUser       string
	sentinelPassword   string
	username, password string
	db                 int
	tls                *tls.Config
	dialTimeout        time.Duration
	redacted           string
}

// String is the URL with its password replaced: safe for logs.
func (t *Topology) String() string { return t.redacted }

// GoString is String, so that %#v shows no password either.
func (t *Topology) GoString() string { return t.redacted }

// NewClient makes a client for commands, with a pool of its own; the caller closes
// it. When ctx ends, so do its connections, with calls that Redis leaves hanging. The
// client obeys the deadlines of contexts, and never repeats a command by itself: only
// its caller knows which may be repeated. In a cluster, though, a command is sent
// again to the server to which it is redirected, and after a connection broke.
//
// The client of a topology with sentinels or of a cluster has a goroutine that
// follows the masters; it ends with Close, or ctx.
func (t *Topology) NewClient(ctx context.Context) redis.UniversalClient {
	switch t.kind {
	case sentinel:
		ctx, stop := context.WithCancel(ctx)
		m := newMaster(t)
		return &masterClient{
			Client:    redis.NewClient(m.remote().options(bound(ctx, m.dial))),
			following: follow(ctx, stop, m.run),
		}
	case cluster:
		ctx, stop := context.WithCancel(ctx)
		v := newView(t)
		c := v.client(ctx)
		v.changed = func() { c.ReloadState(ctx) }
		return &clusterClient{ClusterClient: c, following: follow(ctx, stop, v.run)}
	default:
		return redis.NewClient(t.options(bound(ctx, t.dial)))
	}
}

// following is the goroutine that keeps a client on the right servers.
type following struct {
	stop  context.CancelFunc
	ended chan struct{}
}

func follow(ctx context.Context, stop context.CancelFunc, run func(context.Context)) following {
	f := following{stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		run(ctx)
	}()
	return f
}

// masterClient is a client of the master that sentinels name.
type masterClient struct {
	*redis.Client
	following following
}

// Close implements [redis.UniversalClient].
func (c *masterClient) Close() error {
	c.following.stop()
	err := c.Client.Close()
	<-c.following.ended
	return err
}

// clusterClient is a client of a cluster.
type clusterClient struct {
	*redis.ClusterClient
	following following
}

// Close implements [redis.UniversalClient].
func (c *clusterClient) Close() error {
	c.following.stop()
	err := c.ClusterClient.Close()
	<-c.following.ended
	return err
}

// options are the settings that all of our connections share.
func (t *Topology) options(dial dialer) *redis.Options {
	return &redis.Options{
		Network:               t.network,
		Addr:                  t.addr,
		Username:              t.username,
		Password:              t.password,
		DB:                    t.db,
		DialTimeout:           t.dialTimeout,
		Dialer:                softly(dial),
		DialerRetries:         1, // our own loops back off; retries inside would hide an outage from them
		MaxRetries:            -1,
		Protocol:              2, // nothing here uses the push messages of RESP3, and reading them costs
		PipelinePoolSize:      -1,
		ContextTimeoutEnabled: true,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// dial connects, with TLS if the URL says so. Unlike go-redis's own dialer it gives
// up when ctx ends.
func (t *Topology) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: t.dialTimeout}
	if t.tls == nil {
		return d.DialContext(ctx, network, addr)
	}
	return (&tls.Dialer{NetDialer: &d, Config: t.tls}).DialContext(ctx, network, addr)
}
