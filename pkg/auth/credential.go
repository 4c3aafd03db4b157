package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SubprotocolPrefix starts the entries of Sec-WebSocket-Protocol that hold a
// credential, "boreas.<kind>.<credential>": a web page has no other header to put
// one in. A gateway neither picks nor echoes them.
const SubprotocolPrefix = "boreas."

// The query parameters that may hold a credential.
const (
	TicketParameter = "ticket"
	TokenParameter  = "token"
)

// Limits on what identities hold, in bytes.
const (
	MaxCredential = 8 << 10
	MaxUser       = 256
	MaxClaims     = 4 << 10
)

// Sources says where in a handshake a credential of one kind may stand.
type Sources struct {
	Bearer      bool   // in Authorization: Bearer
	Subprotocol string // in the subprotocol "boreas.<this>.<credential>"; "" for no such place
	Query       string // in the query parameter of this name; "" for no such place
	Cookie      string // in the cookie of this name; "" for no such place
}

// Find returns the credential of a handshake, or [ErrNoCredential]. A cookie counts
// only if nothing else is there: browsers send it unasked. A client that brings
// several credentials is refused, because nobody may guess which one it means.
func (s Sources) Find(h *Handshake) (string, error) {
	found := s.explicit(h)
	if s.Cookie != "" && len(found) == 0 {
		for _, c := range (&http.Request{Header: h.Header}).CookiesNamed(s.Cookie) {
			found = append(found, c.Value)
		}
	}
	switch {
	case len(found) == 0:
		return "", ErrNoCredential
	case len(found) > 1:
		return "", errSeveral
	case found[0] == "":
		return "", &Refusal{Code: BadCredential, Text: "the credential is empty"}
	case len(found[0]) > MaxCredential:
		return "", &Refusal{Code: BadCredential, Text: fmt.Sprintf("the credential is over %d bytes", MaxCredential)}
	}
	return found[0], nil
}

var errSeveral = &Refusal{Code: BadCredential, Text: "the handshake has more than one credential"}

// explicit returns the credentials of a handshake outside cookies.
func (s Sources) explicit(h *Handshake) (found []string) {
	if s.Bearer {
		for _, v := range h.Header["Authorization"] {
			if scheme, token, _ := strings.Cut(v, " "); strings.EqualFold(scheme, "Bearer") {
				found = append(found, strings.TrimSpace(token))
			}
		}
	}
	if s.Subprotocol != "" {
		found = append(found, inSubprotocols(h.Header, SubprotocolPrefix+s.Subprotocol+".")...)
	}
	if s.Query != "" {
		found = append(found, h.Query[s.Query]...)
	}
	return found
}

// inSubprotocols returns what follows the prefix in offered subprotocols.
func inSubprotocols(h http.Header, prefix string) (found []string) {
	for _, line := range h["Sec-Websocket-Protocol"] {
		for s := range strings.SplitSeq(line, ",") {
			if v, ok := strings.CutPrefix(strings.TrimSpace(s), prefix); ok {
				found = append(found, v)
			}
		}
	}
	return found
}

// StripQuery removes the parameters that may hold a credential from a raw query,
// and leaves the rest as it is.
func StripQuery(raw string) string {
	if !mayHoldCredential(raw) {
		return raw
	}
	var kept []string
	for part := range strings.SplitSeq(raw, "&") {
		// What follows a semicolon is no parameter to net/url, but to others.
		if strings.Contains(part, ";") && mayHoldCredential(part) {
			continue
		}
		name, _, _ := strings.Cut(part, "=")
		if name, err := url.QueryUnescape(name); err == nil && (name == TicketParameter || name == TokenParameter) {
			continue
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, "&")
}

// mayHoldCredential reports whether a query has anything that StripQuery looks for.
func mayHoldCredential(raw string) bool {
	return strings.Contains(raw, TicketParameter) || strings.Contains(raw, TokenParameter) || strings.Contains(raw, "%")
}

// CheckUser reports why s cannot be the user of an identity; nil if it can. Users
// end up in logs, keys and other people's screens.
func CheckUser(s string) error {
	switch {
	case s == "":
		return errors.New("the user is empty")
	case len(s) > MaxUser:
		return fmt.Errorf("the user is over %d bytes", MaxUser)
	case !utf8.ValidString(s):
		return errors.New("the user is not UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("the user has control characters")
	}
	return nil
}

// CheckClaims reports why b cannot be the claims of an identity; nil if it can.
func CheckClaims(b []byte) error {
	switch {
	case len(b) == 0:
		return nil
	case len(b) > MaxClaims:
		return fmt.Errorf("the claims are over %d bytes", MaxClaims)
	case !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte{'{'}) || !json.Valid(b):
		return errors.New("the claims are not a JSON object")
	}
	return nil
}
