package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Method is that of the identities that tokens establish.
const Method = "jwt"

// Tokens verifies tokens. It is an [auth.Authenticator] and an [auth.Renewer].
type Tokens struct {
	cfg     Config
	sources auth.Sources
	static  []key // from Config.Secret and Config.Keys
	remote  *keySet
	parser  *jwt.Parser
}

var (
	_ auth.Authenticator = (*Tokens)(nil)
	_ auth.Renewer       = (*Tokens)(nil)
)

// New makes Tokens. It fetches nothing yet.
func New(cfg Config) (*Tokens, error) {
	cfg = cfg.withDefaults()
	static, err := parsePEM(cfg.Keys)
	if err := errors.Join(cfg.validate(), err); err != nil {
		return nil, err
	}
	if len(cfg.Secret) > 0 {
		static = append(static, key{material: cfg.Secret})
	}
	t := &Tokens{
		cfg:     cfg,
		sources: auth.Sources{Bearer: true, Subprotocol: Method, Cookie: cfg.Cookie},
		static:  static,
		parser: jwt.NewParser(
			jwt.WithValidMethods(cfg.Algorithms),
			jwt.WithIssuer(cfg.Issuer),
			jwt.WithAudience(cfg.Audience),
			jwt.WithLeeway(max(cfg.Leeway, 0)),
			jwt.WithExpirationRequired(),
			jwt.WithStrictDecoding(),
		),
	}
	if cfg.Query {
		t.sources.Query = auth.TokenParameter
	}
	if cfg.JWKSURL != "" {
		t.remote = newKeySet(cfg)
	}
	return t, nil
}

// Sources says where tokens may stand.
func (t *Tokens) Sources() auth.Sources { return t.sources }

// Authenticate implements [auth.Authenticator].
func (t *Tokens) Authenticate(ctx context.Context, h *auth.Handshake) (wire.Identity, error) {
	token, err := t.sources.Find(h)
	if err != nil {
		return wire.Identity{}, err
	}
	return t.verify(ctx, token)
}

// Renew implements [auth.Renewer].
func (t *Tokens) Renew(ctx context.Context, current wire.Identity, token string) (wire.Identity, error) {
	if current.Method != Method {
		return wire.Identity{}, auth.ErrNoCredential
	}
	return t.verify(ctx, token)
}

// claims are those that the parser validates, and all of them as they were signed.
type claims struct {
	jwt.RegisteredClaims
	raw json.RawMessage
}

// UnmarshalJSON keeps the text. Names count as they are written: to encoding/json
// "EXP", which may be somebody else's claim, is the same as "exp".
func (c *claims) UnmarshalJSON(b []byte) error {
	c.raw = slices.Clone(b)
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return !slices.Contains(registered, name) })
	exact, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return json.Unmarshal(exact, &c.RegisteredClaims)
}

// registered are the claims that the parser validates.
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

func bad(text string) error { return &auth.Refusal{Code: auth.BadCredential, Text: text} }

// verify returns who a token says its bearer is.
func (t *Tokens) verify(ctx context.Context, token string) (wire.Identity, error) {
	var c claims
	_, err := t.parser.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) { return t.keysFor(ctx, parsed) })
	if err != nil {
		return wire.Identity{}, refuse(err)
	}
	user, err := c.user(t.cfg.UserClaim)
	if err != nil {
		return wire.Identity{}, err
	}
	if auth.CheckClaims(c.raw) != nil {
		return wire.Identity{}, bad("the token's claims are too large")
	}
	return wire.Identity{
		User: user, Method: Method, Claims: c.raw,
		Expires: c.ExpiresAt.Truncate(time.Millisecond).UTC(),
	}, nil
}

// refuse makes a refusal of the parser's error, whose words may quote the token.
func refuse(err error) error {
	var refusal *auth.Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, errNoKeys):
		return err // nobody can tell: not the client's fault
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return bad("the token's signature or algorithm is not accepted")
	case errors.Is(err, jwt.ErrTokenExpired):
		return &auth.Refusal{Code: auth.Expired, Text: "the token has expired"}
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return bad("the token is not valid yet")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return bad("the token is another issuer's")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return bad("the token is for another audience")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return bad("the token lacks one of iss, aud and exp")
	case errors.Is(err, jwt.ErrTokenMalformed):
		return bad("this is not a token")
	default:
		return bad("the token is not accepted")
	}
}

// user returns the claim that names the user.
func (c *claims) user(claim string) (string, error) {
	var all map[string]json.RawMessage
	var user string
	if json.Unmarshal(c.raw, &all) != nil || json.Unmarshal(all[claim], &user) != nil {
		return "", bad("the token does not name a user")
	}
	if auth.CheckUser(user) != nil {
		return "", bad("the token's user cannot be one")
	}
	return user, nil
}

// keysFor returns the keys that a token may be verified with.
func (t *Tokens) keysFor(ctx context.Context, token *jwt.Token) (any, error) {
	if _, ok := token.Header["crit"]; ok {
		return nil, bad("the token has extensions that are unknown here")
	}
	id, _ := token.Header["kid"].(string)
	alg := token.Method.Alg()
	if !slices.Contains(t.cfg.Algorithms, alg) {
		return nil, bad("the token's algorithm is not accepted")
	}
	var set jwt.VerificationKeySet
	for _, k := range t.static {
		if k.fits(alg, id) {
			set.Keys = append(set.Keys, k.material)
		}
	}
	if t.remote != nil && alg[:2] != "HS" {
		keys, err := t.remote.find(ctx, alg, id)
		if err != nil && len(set.Keys) == 0 {
			return nil, err
		}
		for _, k := range keys {
			set.Keys = append(set.Keys, k.material)
		}
	}
	if len(set.Keys) == 0 {
		return nil, bad("the token's key is unknown")
	}
	return set, nil
}
