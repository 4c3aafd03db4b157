package pushapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/boreas-ws/boreas/pkg/push"
	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// deed is a push with an idempotency key.
type deed struct {
	key  memoryKey
	hash [sha256.Size]byte // of the request
}

// name is what the note of a deed is under.
func (d deed) name() string {
	sum := sha256.Sum256([]byte(d.key.caller + "\x00" + d.key.key))
	return "push." + base64.RawURLEncoding.EncodeToString(sum[:])
}

// A note is the hash of the request and, after noteClaimed, the incarnation of the
// node that has it under way; or, after noteDone, the response.
const (
	noteClaimed = "?"
	noteDone    = "="
)

func (d deed) claim(self wire.Incarnation) string {
	return string(d.hash[:]) + noteClaimed + self.String()
}

func (d deed) done(r *pushv1.PushResponse) string {
	text, err := proto.Marshal(r)
	if err != nil {
		panic(err) // it has nothing that cannot be written
	}
	return string(d.hash[:]) + noteDone + string(text)
}

// Waits between questions whether another gateway is done, and between attempts while
// Redis does not answer.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = 500 * time.Millisecond
)

// answerTimeout is how long a node that is no gateway (any more) has to show that it
// lives.
const answerTimeout = 2 * time.Second

// once calls do unless a node has done that deed, and returns its answer; while another
// has it under way, it waits until ctx ends. After an error of do, which
// must mean that nothing was sent, it may be tried again.
func (a *API) once(ctx context.Context, d deed, do func(context.Context) (*pushv1.PushResponse, error)) (*pushv1.PushResponse, error) {
	bp := a.hub.Backplane()
	claim := d.claim(bp.Self())
	for look := firstLook; ; look = min(2*look, lastLook) {
		note, err := bp.Registry().SwapNote(ctx, d.name(), "", claim, a.cfg.RememberFor)
		if err == nil {
			if note == claim {
				return a.doClaimed(ctx, d, claim, do)
			}
			if response, err := a.read(ctx, d, note); response != nil || err != nil {
				return response, err
			}
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			if err == nil {
				err = ctx.Err()
			}
			return nil, failure(err)
		}
	}
}

// doClaimed does a deed that this node has claimed, and notes the outcome.
func (a *API) doClaimed(ctx context.Context, d deed, claim string, do func(context.Context) (*pushv1.PushResponse, error)) (*pushv1.PushResponse, error) {
	ctx = context.WithoutCancel(ctx)
	response, err := do(ctx)
	outcome := ""
	if err == nil {
		outcome = d.done(response)
	}
	if !a.note(ctx, d, claim, outcome) {
		go func() { // the caller need not wait for Redis
			for end := time.Now().Add(a.cfg.RememberFor); time.Now().Before(end); {
				select {
				case <-time.After(lastLook):
				case <-a.hub.Backplane().Done():
					return
				}
				if a.note(ctx, d, claim, outcome) {
					return
				}
			}
		}()
	}
	return response, err
}

// note changes the note of a deed from a claim to its outcome, or makes one if Redis has
// lost the claim. False: Redis cannot be reached.
func (a *API) note(ctx context.Context, d deed, claim, outcome string) bool {
	for _, old := range []string{claim, ""} {
		now, err := a.hub.Backplane().Registry().SwapNote(ctx, d.name(), old, outcome, a.cfg.RememberFor)
		if err != nil {
			return false
		}
		if now != "" {
			break
		}
	}
	return true
}

// read says what a note means for a deed; nil: another node has it under way.
func (a *API) read(ctx context.Context, d deed, note string) (*pushv1.PushResponse, error) {
	rest, same := strings.CutPrefix(note, string(d.hash[:]))
	if !same {
		return nil, errUsed()
	}
	if text, done := strings.CutPrefix(rest, noteDone); done {
		response := &pushv1.PushResponse{}
		if err := proto.Unmarshal([]byte(text), response); err != nil {
			return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("the noted answer of the push: %w", err))
		}
		response.Repeated = true
		return response, nil
	}
	owner, err := wire.ParseIncarnation(strings.TrimPrefix(rest, noteClaimed))
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("the noted push: %w", err))
	}
	if !a.lives(ctx, owner) {
		return nil, connect.NewError(connect.CodeAborted, fmt.Errorf("node %s was lost while it pushed this; who got it is not known", owner))
	}
	return nil, nil
}

// lives reports whether a node is there, be it a gateway or another that serves the API.
func (a *API) lives(ctx context.Context, node wire.Incarnation) bool {
	bp := a.hub.Backplane()
	if _, joined := bp.Registry().View().Gateways[node]; joined || node == bp.Self() {
		return true
	}
	asked, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	_, err := a.hub.Request(asked, node, "push.lives", nil)
	// That it does not know what it was asked is an answer. ctx may end before one.
	return !errors.Is(err, push.ErrUnanswered) || ctx.Err() != nil
}

func errUsed() error {
	return connect.NewError(connect.CodeAlreadyExists, errors.New("the idempotency key was used for another push"))
}
