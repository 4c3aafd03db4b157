package main

import (
	"net/url"
	"strings"

	"github.com/alecthomas/kong"
)

// redacted stands for a secret wherever a setting is shown.
const redacted = "xxxxx"

// display is a flag's value as it may be shown: the passwords in URLs and the
// values of flags tagged `secret` are hidden.
func display(f *kong.Flag, value string) string {
	if value != "" && f.Tag.Has("secret") {
		return redacted
	}
	if strings.Contains(value, "://") {
		return redactURL(value)
	}
	return value
}

// isSecret reports whether a query parameter of a Redis URL holds a secret.
func isSecret(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "password") || strings.Contains(name, "secret") || strings.Contains(name, "token")
}

// redactURL hides the password of a URL, in its user part or its query, and all that
// the query of an endpoint holds: who runs that chose the names.
func redactURL(s string) string {
	// The hosts of sentinels and clusters are a list, but net/url takes one.
	start, end := strings.Index(s, "://"), len(s)
	if start < 0 {
		return redactOne(s)
	}
	start += len("://")
	if n := strings.IndexAny(s[start:], "/?#"); n >= 0 {
		end = start + n
	}
	start += strings.LastIndexByte(s[start:end], '@') + 1
	if !strings.Contains(s[start:end], ",") {
		return redactOne(s)
	}
	const host = "hosts.invalid"
	return strings.Replace(redactOne(s[:start]+host+s[end:]), host, s[start:end], 1)
}

// redactOne is redactURL for a URL with one host.
func redactOne(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return redacted + " (not a valid URL)"
	}
	query := u.Query()
	for name := range query {
		if strings.HasPrefix(u.Scheme, "http") || isSecret(name) {
			query.Set(name, redacted)
			u.RawQuery = query.Encode()
		}
	}
	return u.Redacted()
}
