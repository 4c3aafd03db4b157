package ticket

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Defaults of [Config].
const (
	DefaultNamespace = "boreas"
	DefaultTTL       = 30 * time.Second
	DefaultMaxTTL    = 10 * time.Minute
)

// Method is that of the identities that tickets establish.
const Method = "ticket"

const (
	ticketBytes = 32 // 256 bits
	ticketLen   = 43 // of them in base64url without padding
)

// Config configures [Tickets]. A zero field means its default.
type Config struct {
	// Namespace tells systems apart that share a Redis; that of the backplane.
	// Default "boreas".
	Namespace string
	// TTL is how long a ticket can be used whose Grant has no TTL. Default 30 s.
	TTL time.Duration
	// MaxTTL is the longest TTL that a Grant may have. Default 10 min.
	MaxTTL time.Duration
}

// Tickets mints and consumes tickets. It is an [auth.Authenticator], which takes
// them from the subprotocol "boreas.ticket.<ticket>" or the query parameter
// "ticket".
type Tickets struct {
	client redis.UniversalClient
	cfg    Config
}

var _ auth.Authenticator = (*Tickets)(nil)

// New makes Tickets on a client, which the caller closes.
func New(client redis.UniversalClient, cfg Config) (*Tickets, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = DefaultNamespace
	}
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	if cfg.MaxTTL == 0 {
		cfg.MaxTTL = max(DefaultMaxTTL, cfg.TTL)
	}
	var errs []error
	if client == nil {
		errs = append(errs, errors.New("ticket.New: the client is missing"))
	}
	if err := wire.ValidateSlug(cfg.Namespace); err != nil {
		errs = append(errs, fmt.Errorf("ticket.Config.Namespace: %w", err))
	}
	if cfg.TTL < time.Second || cfg.MaxTTL < cfg.TTL {
		errs = append(errs, fmt.Errorf("ticket.Config: TTL %v, MaxTTL %v; want 1s <= TTL <= MaxTTL", cfg.TTL, cfg.MaxTTL))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Tickets{client: client, cfg: cfg}, nil
}

// Grant says what a ticket is good for.
type Grant struct {
	// User is who the client will be.
	User string
	// Origin, if set, is the only origin of web pages that may use the ticket, such
	// as "https://app.example.com". Clients that are no browsers send none, and
	// cannot use it.
	Origin string
	// Claims is a JSON object for the handlers, or empty.
	Claims json.RawMessage
	// TTL is how long the ticket can be used, from 1 s on. Zero: Config.TTL.
	TTL time.Duration
}

// ErrGrant is wrapped by the errors of [Tickets.Mint] that are the fault of the
// Grant.
var ErrGrant = errors.New("no ticket")

func (g *Grant) validate(cfg Config) error {
	var errs []error
	if err := auth.CheckUser(g.User); err != nil {
		errs = append(errs, err)
	}
	if err := auth.CheckClaims(g.Claims); err != nil {
		errs = append(errs, err)
	}
	if u, err := url.Parse(g.Origin); g.Origin != "" &&
		(err != nil || u.Scheme == "" || u.Host == "" || !strings.EqualFold(g.Origin, u.Scheme+"://"+u.Host)) {
		errs = append(errs, errors.New("the origin is not of the form https://host"))
	}
	if g.TTL == 0 {
		g.TTL = cfg.TTL
	}
	if g.TTL < time.Second || g.TTL > cfg.MaxTTL {
		errs = append(errs, fmt.Errorf("the ttl is %v; it must be from 1s to %v", g.TTL, cfg.MaxTTL))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrGrant, err)
	}
	return nil
}

// stored is what Redis has of a ticket.
type stored struct {
	User   string          `json:"user"`
	Origin string          `json:"origin,omitempty"`
	Claims json.RawMessage `json:"claims,omitempty"`
}

// Mint makes a ticket, and returns it with how long it can be used.
func (t *Tickets) Mint(ctx context.Context, g Grant) (ticket string, ttl time.Duration, err error) {
	if err := g.validate(t.cfg); err != nil {
		return "", 0, err
	}
	secret := make([]byte, ticketBytes)
	_, _ = rand.Read(secret) // never fails
	ticket = base64.RawURLEncoding.EncodeToString(secret)
	value, err := json.Marshal(stored{User: g.User, Origin: g.Origin, Claims: g.Claims})
	if err != nil {
		return "", 0, err
	}
	if err := t.client.Set(ctx, t.key(ticket), value, g.TTL).Err(); err != nil {
		return "", 0, fmt.Errorf("the ticket could not be stored: %w", err)
	}
	return ticket, g.TTL, nil
}

// key is where a ticket is kept.
func (t *Tickets) key(ticket string) string {
	sum := sha256.Sum256([]byte(ticket))
	return "bo:" + t.cfg.Namespace + ":ticket:" + hex.EncodeToString(sum[:])
}

var sources = auth.Sources{Subprotocol: Method, Query: auth.TicketParameter}

// Sources says where tickets may stand.
func (t *Tickets) Sources() auth.Sources { return sources }

// Authenticate implements [auth.Authenticator]: it consumes the ticket of the
// handshake.
func (t *Tickets) Authenticate(ctx context.Context, h *auth.Handshake) (wire.Identity, error) {
	ticket, err := sources.Find(h)
	if err != nil {
		return wire.Identity{}, err
	}
	return t.consume(ctx, ticket, h.Header["Origin"])
}

// consume uses a ticket up, whatever comes of it.
func (t *Tickets) consume(ctx context.Context, ticket string, origins []string) (wire.Identity, error) {
	if !wellFormed(ticket) { // Redis need not be asked
		return wire.Identity{}, &auth.Refusal{Code: auth.BadCredential, Text: "this is not a ticket"}
	}
	value, err := t.client.GetDel(ctx, t.key(ticket)).Bytes()
	if errors.Is(err, redis.Nil) {
		return wire.Identity{}, &auth.Refusal{
			Code: auth.BadCredential,
			Text: "the ticket is unknown: it works once, and only for a short time; get a new one",
		}
	}
	if err != nil {
		return wire.Identity{}, fmt.Errorf("the ticket could not be looked up: %w", err)
	}
	s, err := parseStored(value)
	if err != nil {
		return wire.Identity{}, err
	}
	if s.Origin != "" && (len(origins) != 1 || !strings.EqualFold(origins[0], s.Origin)) {
		return wire.Identity{}, &auth.Refusal{Code: auth.BadCredential, Text: "the ticket is for another origin"}
	}
	return wire.Identity{User: s.User, Method: Method, Claims: s.Claims}, nil
}

// wellFormed reports whether Mint could have made this ticket.
func wellFormed(ticket string) bool {
	if len(ticket) != ticketLen {
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
	return err == nil && !strings.ContainsAny(ticket, "\r\n") // which the decoder skips
}

// parseStored reads what Mint wrote.
func parseStored(value []byte) (stored, error) {
	var s stored
	if err := json.Unmarshal(value, &s); err != nil {
		return s, errors.New("what Redis has of the ticket cannot be read")
	}
	if err := errors.Join(auth.CheckUser(s.User), auth.CheckClaims(s.Claims)); err != nil {
		return s, fmt.Errorf("what Redis has of the ticket cannot be used: %w", err)
	}
	return s, nil
}
