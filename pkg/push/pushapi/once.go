package pushapi

import (
	"context"
	"crypto/rand"
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

// A note is the hash of the request, one of these, and
const (
	noteClaimed = "?" // the incarnation of the node that has it under way, and what no other claim has;
	noteDone    = "=" // the response;
	noteUnknown = "!" // nothing: it may have been sent or not.
)

func (d deed) claim(self wire.Incarnation) string {
	return string(d.hash[:]) + noteClaimed + self.String() + " " + rand.Text()
}

func (d deed) done(r *pushv1.PushResponse) string {
	text, err := proto.Marshal(r)
	if err != nil {
		panic(err) // it has nothing that cannot be written
	}
	return string(d.hash[:]) + noteDone + string(text)
}

func (d deed) unknown() string { return string(d.hash[:]) + noteUnknown }

const (
	// firstLook and lastLook are waits between questions whether another node is done,
	// and between attempts while Redis does not answer.
	firstLook = 20 * time.Millisecond
	lastLook  = 500 * time.Millisecond
	// redisTimeout is how long a push with an idempotency key waits for Redis, and half of
	// the time that it has at most, so that its caller learns why it failed.
	redisTimeout = 2 * time.Second
	// answerTimeout is how long a node that is no gateway (any more) has to show that it
	// lives.
	answerTimeout = 2 * time.Second
)

// once calls do unless a node has done that deed, and returns its answer; while another
// has it under way, it waits until ctx ends. An error of do must mean that nothing was
// sent: it may be tried again.
func (a *API) once(ctx context.Context, d deed, do func(context.Context) (*pushv1.PushResponse, error)) (*pushv1.PushResponse, error) {
	bp := a.hub.Backplane()
	claim := d.claim(bp.Self())
	patience := redisTimeout
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(end)/2)
	}
	unsure := false // whether an attempt without an answer may have written the claim
	for answered, look := time.Now(), firstLook; ; look = min(2*look, lastLook) {
		attempt, cancel := context.WithDeadline(ctx, answered.Add(patience))
		note, err := bp.Registry().SwapNote(attempt, d.name(), "", claim, a.cfg.RememberFor)
		cancel()
		switch {
		case err != nil:
			unsure = true
			if time.Since(answered) >= patience {
				a.noteLater(d, claim, "")
				return nil, connect.NewError(connect.CodeUnavailable, err)
			}
		case note == claim:
			return a.doClaimed(ctx, d, claim, unsure, do)
		default:
			answered = time.Now()
			if response, err := a.read(ctx, d, note); response != nil || err != nil {
				return response, err
			}
		}
		select {
		case <-time.After(look):
		case <-bp.Done():
			return nil, connect.NewError(connect.CodeUnavailable, errors.New("this gateway ends"))
		case <-ctx.Done():
			if unsure {
				a.noteLater(d, claim, "")
			}
			return nil, failure(ctx.Err())
		}
	}
}

// doClaimed does a deed that this node has claimed, and notes the outcome.
func (a *API) doClaimed(ctx context.Context, d deed, claim string, unsure bool, do func(context.Context) (*pushv1.PushResponse, error)) (*pushv1.PushResponse, error) {
	ctx = context.WithoutCancel(ctx)
	outcome := d.unknown() // after a panic
	defer func() {
		if !a.note(ctx, d, claim, outcome) || unsure {
			a.noteLater(d, claim, outcome)
		}
	}()
	response, err := do(ctx)
	if err != nil {
		outcome = ""
		return nil, err
	}
	outcome = d.done(response)
	return response, nil
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
	if rest == noteUnknown {
		return nil, connect.NewError(connect.CodeAborted, errors.New("a gateway failed while it pushed this; who got it is not known"))
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(rest, noteClaimed), " ")
	owner, err := wire.ParseIncarnation(name)
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
	if !errors.Is(err, push.ErrUnanswered) {
		return true // that it does not know what it was asked is an answer
	}
	select {
	case <-bp.Done(): // this node is the one that ends
		return true
	default:
		return ctx.Err() != nil // too early to tell
	}
}

func errUsed() error {
	return connect.NewError(connect.CodeAlreadyExists, errors.New("the idempotency key was used for another push"))
}
