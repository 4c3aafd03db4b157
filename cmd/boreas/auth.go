package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/boreas-ws/boreas/pkg/auth"
	"github.com/boreas-ws/boreas/pkg/auth/jwt"
	"github.com/boreas-ws/boreas/pkg/auth/ticket"
	"github.com/boreas-ws/boreas/pkg/auth/webhook"
	"github.com/boreas-ws/boreas/pkg/gateway"
	"github.com/boreas-ws/boreas/pkg/redisbus"
)

// authFlags say who may connect.
type authFlags struct {
	Auth              []string      `default:"none" help:"How clients say who they are: some of ticket, jwt and webhook, asked in this order, and last none, which lets anonymous clients in."`
	AuthTimeout       time.Duration `default:"${auth_timeout}" help:"Time that it may take to find out who a client is."`
	AuthExpiryWarning time.Duration `default:"${expiry_warning}" help:"Time before the end of its token at which a client is told; negative for not at all."`
	AuthExpiryGrace   time.Duration `default:"${expiry_grace}" help:"Time after the end of its token at which a client is closed; negative for at once."`

	JWTAlgorithms []string      `name:"jwt-algorithms" placeholder:"ALG,..." help:"Algorithms of tokens that are accepted, such as RS256. Required for jwt."`
	JWTIssuer     string        `name:"jwt-issuer" placeholder:"ISS" help:"Issuer of tokens. Required for jwt."`
	JWTAudience   string        `name:"jwt-audience" placeholder:"AUD" help:"Audience that tokens must be for. Required for jwt."`
	JWTUserClaim  string        `name:"jwt-user-claim" default:"${jwt_user_claim}" help:"Claim of tokens that names the user."`
	JWTLeeway     time.Duration `name:"jwt-leeway" default:"${jwt_leeway}" help:"How much the clock of the issuer may differ."`
	JWTJWKSURL    string        `name:"jwt-jwks-url" placeholder:"URL" help:"Where the issuer publishes its keys, as a JSON Web Key Set: https, or http on loopback."`
	JWTKeyFiles   []string      `name:"jwt-key-files" placeholder:"FILE,..." help:"PEM files with public keys or certificates of the issuer."`
	JWTSecret     string        `name:"jwt-secret" secret:"" placeholder:"SECRET" help:"Secret of HS256 to HS512, of 32 bytes or more."`
	JWTSecretFile string        `name:"jwt-secret-file" placeholder:"FILE" help:"File with that secret, in place of it; a line break at its end does not count."`
	JWTCookie     string        `name:"jwt-cookie" placeholder:"NAME" help:"Cookie that may hold the token. Default: none."`
	JWTQuery      bool          `name:"jwt-query" help:"Accept tokens in the query parameter token, which proxies may log."`

	WebhookURL     string        `placeholder:"URL" help:"Endpoint that decides who may connect. Required for webhook."`
	WebhookKey     string        `secret:"" placeholder:"KEY" help:"Bearer token that the endpoint gets."`
	WebhookKeyFile string        `placeholder:"FILE" help:"File with that key, in place of it."`
	WebhookHeaders []string      `default:"${webhook_headers}" help:"Handshake headers that the endpoint gets."`
	WebhookTimeout time.Duration `default:"${webhook_timeout}" help:"Time that the endpoint may take; after it nobody gets in."`
	WebhookCache   time.Duration `default:"${webhook_cache}" help:"Time for which an answer of the endpoint counts for the same question; negative for not at all."`
}

// authDefaults are the variables that the tags above mention.
var authDefaults = kong.Vars{
	"auth_timeout":    gateway.DefaultAuthTimeout.String(),
	"expiry_warning":  gateway.DefaultExpiryWarning.String(),
	"expiry_grace":    gateway.DefaultExpiryGrace.String(),
	"jwt_user_claim":  jwt.DefaultUserClaim,
	"jwt_leeway":      jwt.DefaultLeeway.String(),
	"webhook_headers": strings.Join(webhook.DefaultHeaders(), ","),
	"webhook_timeout": webhook.DefaultTimeout.String(),
	"webhook_cache":   webhook.DefaultCacheTTL.String(),
}

// authentication is what the flags make.
type authentication struct {
	authenticator auth.Authenticator // nil: all clients are anonymous
	tickets       *ticket.Tickets    // nil without them
	client        io.Closer          // of Redis; nil without tickets
}

// close ends the connections of what open made.
func (a *authentication) close() {
	if a.client != nil {
		_ = a.client.Close() // nothing is under way any more
	}
}

// open makes what the flags ask for. It connects to nothing yet.
func (f *gatewayFlags) openAuth(ctx context.Context, logger *slog.Logger) (*authentication, error) {
	a := &authentication{}
	var list []auth.Authenticator
	var errs []error
	for i, method := range f.Auth {
		last := i == len(f.Auth)-1
		switch {
		case slices.Contains(f.Auth[:i], method):
			errs = append(errs, fmt.Errorf("--auth: %s twice", method))
		case (method == "webhook" || method == "none") && !last:
			errs = append(errs, fmt.Errorf("--auth: nothing is asked after %s; name it last", method))
		}
		one, err := f.openMethod(ctx, method, a, logger)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, one)
	}
	if len(f.Auth) == 0 {
		errs = append(errs, errors.New("--auth: empty; name none to let anonymous clients in"))
	}
	if err := errors.Join(errs...); err != nil {
		a.close()
		return nil, err
	}
	if slices.Contains(f.Auth, "none") {
		logger.Warn("anonymous clients may connect; see --auth")
	}
	if len(f.Auth) > 1 || f.Auth[0] != "none" {
		a.authenticator = auth.First(list...)
	}
	return a, nil
}

// openMethod makes one authenticator.
func (f *gatewayFlags) openMethod(ctx context.Context, method string, a *authentication, logger *slog.Logger) (auth.Authenticator, error) {
	switch method {
	case "none":
		return auth.None{}, nil
	case "ticket":
		topology, err := redisbus.ParseURL(f.Redis)
		if err != nil {
			return nil, fmt.Errorf("--redis: %w", err)
		}
		if a.client != nil {
			return a.tickets, nil // named twice, which is told
		}
		client := topology.NewClient(ctx)
		a.client = client
		a.tickets, err = ticket.New(client, ticket.Config{Namespace: f.Namespace})
		return a.tickets, err
	case "jwt":
		return f.openJWT(logger)
	case "webhook":
		key, err := secretOf("--webhook-key", f.WebhookKey, f.WebhookKeyFile)
		if err != nil {
			return nil, err
		}
		return webhook.New(webhook.Config{
			URL: f.WebhookURL, Key: key, Headers: f.WebhookHeaders, Timeout: f.WebhookTimeout, CacheTTL: f.WebhookCache,
		})
	default:
		return nil, fmt.Errorf("--auth: %q is unknown; want some of ticket, jwt, webhook and none", method)
	}
}

func (f *authFlags) openJWT(logger *slog.Logger) (auth.Authenticator, error) {
	secret, err := secretOf("--jwt-secret", f.JWTSecret, f.JWTSecretFile)
	if err != nil {
		return nil, err
	}
	var keys []byte
	for _, path := range f.JWTKeyFiles {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--jwt-key-files: %w", err)
		}
		keys = append(append(keys, text...), '\n')
	}
	return jwt.New(jwt.Config{
		Algorithms: f.JWTAlgorithms,
		Issuer:     f.JWTIssuer,
		Audience:   f.JWTAudience,
		UserClaim:  f.JWTUserClaim,
		Leeway:     f.JWTLeeway,
		JWKSURL:    f.JWTJWKSURL,
		Keys:       keys,
		Secret:     []byte(secret),
		Cookie:     f.JWTCookie,
		Query:      f.JWTQuery,
		Fetched: func(keys int, err error) {
			if err != nil {
				logger.Warn("the keys of the token issuer were not fetched", "err", err)
				return
			}
			logger.Debug("the keys of the token issuer were fetched", "keys", keys)
		},
	})
}

// secretOf returns a secret that is given by its flag or by a file.
func secretOf(flag, value, path string) (string, error) {
	if path == "" {
		return value, nil
	}
	if value != "" {
		return "", fmt.Errorf("%s and %s-file: give one", flag, flag)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s-file: %w", flag, err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// mounts are what the internal listener serves for it.
func (a *authentication) mounts(key string, logger *slog.Logger) []mount {
	if a.tickets == nil {
		return nil
	}
	handler := a.tickets.Handler(logger)
	if key == "" {
		handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "tickets are minted only with an --internal-key: whoever can mint them can be any user", http.StatusForbidden)
		})
	}
	return []mount{{pattern: "/tickets", handler: handler}}
}
