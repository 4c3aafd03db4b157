// Package jwt lets clients connect with JSON Web Tokens that somebody else signs.
//
//	tokens, err := jwt.New(jwt.Config{
//		Algorithms: []string{"RS256"},
//		Issuer:     "https://login.example.com/",
//		Audience:   "boreas",
//		JWKSURL:    "https://login.example.com/.well-known/jwks.json",
//	})
//	gw, err := gateway.New("public", bp, gateway.Config{Authenticator: tokens})
//
// # Guarantees
//
// Only the algorithms of the configuration are accepted, each with keys of its own
// kind: a token cannot choose to be verified with a public key as if that were a
// secret, nor not at all. A token must expire. No error has a token.
//
// Keys from a URL are cached; a request for them is made at most once per
// Config.JWKSMinInterval, however many tokens name unknown keys. While the URL does
// not answer, the last keys stay good for Config.JWKSMaxStale.
//
// # Not guaranteed
//
// A token that its issuer has revoked is accepted until it expires.
//
// # Lifecycle and concurrency
//
// Nothing is started; a goroutine runs only while keys are being fetched, which
// Config.JWKSTimeout bounds. Every method may be called from any goroutine.
package jwt
