package main

import (
	"context"
	"log/slog"

	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/redisbus"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// quotaFlags are the limits that hold over all gateways.
type quotaFlags struct {
	AddressConnections    int        `default:"0" help:"Connections of one client address (the /64 of an IPv6 address), over all gateways; 0 for no limit."`
	AddressConnectionRate quota.Rate `default:"0" placeholder:"RATE:BURST" help:"Handshakes per second of one client address, over all gateways; 0 for no limit."`
	AddressMessageRate    quota.Rate `default:"0" placeholder:"RATE:BURST" help:"Messages per second of one client address, over all gateways; 0 for no limit."`
	AddressByteRate       quota.Rate `default:"0" placeholder:"RATE:BURST" help:"Bytes of messages per second of one client address, over all gateways; 0 for no limit."`
	UserConnections       int        `default:"0" help:"Connections of one authenticated user, over all gateways; 0 for no limit."`
	UserConnectionRate    quota.Rate `default:"0" placeholder:"RATE:BURST" help:"Handshakes per second of one user, over all gateways; 0 for no limit."`
	UserMessageRate       quota.Rate `default:"0" placeholder:"RATE:BURST" help:"Messages per second of one user, over all gateways; 0 for no limit."`
	UserByteRate          quota.Rate `default:"0" placeholder:"RATE:BURST" help:"Bytes of messages per second of one user, over all gateways; 0 for no limit."`
}

// quota makes what counts for these limits, with connections to Redis that the
// returned function closes; nil if there are no limits.
func (f quotaFlags) quota(ctx context.Context, redis, namespace string, self wire.Incarnation, hooks quota.Hooks, logger *slog.Logger) (*quota.Quota, func(), error) {
	nothing := func() {}
	if f == (quotaFlags{}) {
		return nil, nothing, nil
	}
	top, err := redisbus.ParseURL(redis)
	if err != nil {
		return nil, nothing, err
	}
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	client := top.NewClient(ctx)
	shut := func() {
		_ = client.Close() // nothing is on its way
		end()
	}
	q, err := quota.New(quota.Config{
		Client:    client,
		Namespace: namespace,
		Self:      self,
		Address: quota.Limits{
			Connections: f.AddressConnections, ConnectionRate: f.AddressConnectionRate,
			MessageRate: f.AddressMessageRate, ByteRate: f.AddressByteRate,
		},
		User: quota.Limits{
			Connections: f.UserConnections, ConnectionRate: f.UserConnectionRate,
			MessageRate: f.UserMessageRate, ByteRate: f.UserByteRate,
		},
		Logger: logger,
		Hooks:  hooks,
	})
	if err != nil {
		shut()
		return nil, nothing, err
	}
	return q, shut, nil
}
