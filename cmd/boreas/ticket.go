package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/boreas-ws/boreas/pkg/auth/ticket"
	"github.com/boreas-ws/boreas/pkg/redisbus"
)

// ticketTimeout bounds the storing of a ticket.
const ticketTimeout = 5 * time.Second

type ticketCmd struct {
	Redis     string `default:"redis://localhost:6379" help:"Redis of the backplane: a redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster:// URL."`
	Namespace string `default:"boreas" help:"Tells systems apart that share a Redis."`

	User   string        `required:"" placeholder:"NAME" novar:"true" help:"Who the client will be."`
	Origin string        `placeholder:"ORIGIN" novar:"true" help:"The only origin of web pages that may use the ticket, such as https://app.example.com."`
	Claims string        `placeholder:"JSON" novar:"true" help:"A JSON object for the handlers."`
	TTL    time.Duration `name:"ttl" default:"30s" novar:"true" help:"How long the ticket can be used."`
}

// Run prints a ticket.
func (c *ticketCmd) Run(p *process) error {
	topology, err := redisbus.ParseURL(c.Redis)
	if err != nil {
		return usageError{fmt.Errorf("--redis: %w", err)}
	}
	ctx, cancel := context.WithTimeout(p.ctx, ticketTimeout)
	defer cancel()
	client := topology.NewClient(ctx)
	defer client.Close()
	tickets, err := ticket.New(client, ticket.Config{Namespace: c.Namespace})
	if err != nil {
		return usageError{err}
	}
	t, _, err := tickets.Mint(ctx, ticket.Grant{User: c.User, Origin: c.Origin, Claims: json.RawMessage(c.Claims), TTL: c.TTL})
	if errors.Is(err, ticket.ErrGrant) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, t)
	return nil
}
