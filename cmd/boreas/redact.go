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

// secretParameters are the query parameters of URLs that hold secrets, by a part
// of their name.
var secretParameters = []string{"password", "secret", "token"}

// redactURL hides the password of a URL, in its user part or its query.
func redactURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return redacted + " (not a valid URL)"
	}
	query := u.Query()
	for name := range query {
		for _, part := range secretParameters {
			if strings.Contains(strings.ToLower(name), part) {
				query.Set(name, redacted)
				u.RawQuery = query.Encode()
			}
		}
	}
	return u.Redacted()
}
