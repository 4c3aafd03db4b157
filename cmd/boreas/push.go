package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
	"github.com/boreas-ws/boreas/pkg/push/pushclient"
	"github.com/boreas-ws/boreas/pkg/router"
)

// clientFlags say how a command reaches the push API.
type clientFlags struct {
	API     string `name:"api" default:"http://127.0.0.1:9090" placeholder:"URL" help:"Internal listener of a gateway, any one."`
	Key     string `name:"api-key" secret:"" placeholder:"KEY" help:"Key for it."`
	KeyFile string `name:"key-file" placeholder:"FILE" help:"The same in a file."`
}

func (f *clientFlags) client() (*pushclient.Client, error) {
	key, err := secretOf("--api-key", f.Key, f.KeyFile)
	if err != nil {
		return nil, usageError{err}
	}
	c, err := pushclient.New(f.API, pushclient.Config{Key: key})
	if err != nil {
		return nil, usageError{fmt.Errorf("--api: %w", err)}
	}
	return c, nil
}

// targetFlags say whom a command is about.
type targetFlags struct {
	Socket  string `xor:"target" placeholder:"ID" novar:"true" help:"One socket."`
	User    string `xor:"target" placeholder:"NAME" novar:"true" help:"All sockets of a user."`
	Group   string `xor:"target" placeholder:"NAME" novar:"true" help:"All sockets in a group."`
	Gateway string `xor:"target" name:"on" placeholder:"NAME" novar:"true" help:"All sockets on the gateways of a name."`
	All     bool   `xor:"target" novar:"true" help:"All sockets."`
}

func (f *targetFlags) target() (router.Target, error) {
	switch {
	case f.Socket != "":
		return router.ToSocket(f.Socket), nil
	case f.User != "":
		return router.ToUser(f.User), nil
	case f.Group != "":
		return router.ToGroup(f.Group), nil
	case f.Gateway != "":
		return router.ToGateway(f.Gateway), nil
	case f.All:
		return router.ToAll(), nil
	}
	return router.Target{}, usageError{errors.New("say whom: one of --socket, --user, --group, --on and --all")}
}

type pushCmd struct {
	clientFlags `embed:""`
	targetFlags `embed:""`

	Path           string        `placeholder:"PATH" novar:"true" help:"Path in the client's envelope."`
	Policy         string        `enum:"wait,drop,latest" default:"wait" novar:"true" help:"For clients that do not keep up: wait, drop or latest."`
	Timeout        time.Duration `default:"5s" novar:"true" help:"Bounds the push."`
	IdempotencyKey string        `placeholder:"KEY" novar:"true" help:"A push with the key of an earlier one is not done again."`
	Data           string        `arg:"" optional:"" help:"A JSON text for the clients."`
}

// Run prints the result as JSON. Nobody to get the message is no error.
func (c *pushCmd) Run(p *process) error {
	to, err := c.target()
	if err != nil {
		return err
	}
	if c.Timeout < time.Millisecond || c.Timeout > router.MaxPushTimeout {
		return usageError{fmt.Errorf("--timeout: %v; want 1ms to 1m", c.Timeout)}
	}
	m := router.Push{To: to, Path: c.Path, Timeout: c.Timeout}
	switch c.Policy {
	case "drop":
		m.Policy = router.PushDrop
	case "latest":
		m.Policy = router.PushLatest
	}
	if c.Data != "" {
		if !json.Valid([]byte(c.Data)) {
			return usageError{errors.New("the data is no JSON text")}
		}
		m.Data = json.RawMessage(c.Data)
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	r, err := client.Push(p.ctx, m, c.IdempotencyKey)
	if err != nil {
		return err
	}
	text, err := protojson.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, string(text))
	return nil
}

type socketsCmd struct {
	clientFlags `embed:""`
	targetFlags `embed:""`

	Limit int  `default:"1000" novar:"true" help:"Most sockets to list; 0 for all."`
	JSON  bool `name:"json" novar:"true" help:"One JSON object a line."`
}

// Run lists sockets.
func (c *socketsCmd) Run(p *process) error {
	to, err := c.target()
	if err != nil {
		to = router.ToAll()
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(table, "SOCKET\tUSER\tGATEWAY\tNODE\tADDRESS\tSINCE")
	}
	n := 0
	missing, err := client.Sockets(p.ctx, to, func(s *pushv1.Socket) bool {
		if c.JSON {
			text, _ := protojson.Marshal(s) // what was unmarshalled
			fmt.Fprintln(p.stdout, string(text))
		} else {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", s.GetId(), s.GetUser(), s.GetGateway(), s.GetNode(),
				s.GetRemoteAddress(), s.GetConnectedAt().AsTime().Format(time.RFC3339))
		}
		n++
		return c.Limit <= 0 || n < c.Limit
	})
	_ = table.Flush() // as with other output
	if len(missing) > 0 {
		p.logger.Warn("sockets of gateways that did not answer are missing", "gateways", missing)
	}
	return err
}

type kickCmd struct {
	clientFlags `embed:""`

	Socket string `xor:"who" required:"" placeholder:"ID" novar:"true" help:"The socket to close."`
	User   string `xor:"who" required:"" placeholder:"NAME" novar:"true" help:"The user all of whose sockets are closed."`
	Code   uint32 `default:"1008" novar:"true" help:"Close code: 1000, 1008, 1012, 1013 or 3000 to 4999."`
	Reason string `default:"disconnected" novar:"true" help:"Reason that the clients get."`
}

// Run closes sockets and prints how many.
func (c *kickCmd) Run(p *process) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	n := 1
	if c.User != "" {
		var missing []string
		n, missing, err = client.DisconnectUser(p.ctx, c.User, c.Code, c.Reason)
		if len(missing) > 0 {
			p.logger.Warn("gateways did not answer; the user may have sockets there", "gateways", missing)
		}
	} else {
		err = client.DisconnectSocket(p.ctx, c.Socket, c.Code, c.Reason)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%d closed\n", n)
	return nil
}
