package ticket

import (
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"time"
)

// maxRequest is the largest body of a request for a ticket, in bytes.
const maxRequest = 16 << 10

// request is the body of a request for a ticket.
type request struct {
	User   string          `json:"user"`
	Origin string          `json:"origin"`
	Claims json.RawMessage `json:"claims"`
	TTL    float64         `json:"ttl"` // seconds
}

// Handler answers POST requests for tickets:
//
//	{"user": "alice", "origin": "https://app.example.com", "claims": {"role": "admin"}, "ttl": 30}
//
// of which only the user is required, with 201 and {"ticket": "...", "expires_in": 30}.
// Who may ask is for its caller to check: whoever reaches it can be any user. A
// logger gets the failures of Redis.
func (t *Tickets) Handler(logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			answerError(w, http.StatusMethodNotAllowed, "post a request for a ticket")
			return
		}
		// A web page cannot send this type to another origin unasked.
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
			answerError(w, http.StatusUnsupportedMediaType, "send application/json")
			return
		}
		grant, err := parseRequest(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			answerError(w, http.StatusBadRequest, err.Error())
			return
		}
		ticket, ttl, err := t.Mint(r.Context(), grant)
		switch {
		case errors.Is(err, ErrGrant):
			answerError(w, http.StatusBadRequest, err.Error())
		case err != nil:
			logger.Error("no ticket could be minted", "err", err)
			w.Header().Set("Retry-After", "1")
			answerError(w, http.StatusServiceUnavailable, "tickets cannot be stored now")
		default:
			w.Header().Set("Cache-Control", "no-store")
			answer(w, http.StatusCreated, map[string]any{"ticket": ticket, "expires_in": ttl.Seconds()})
		}
	})
}

// parseRequest reads the body of a request.
func parseRequest(body interface{ Read([]byte) (int, error) }) (Grant, error) {
	var r request
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Grant{}, errors.New("the body is not a JSON object with user, origin, claims and ttl, or is too large")
	}
	if d.More() {
		return Grant{}, errors.New("something follows the JSON object")
	}
	if !(r.TTL >= 0 && r.TTL <= maxSeconds) {
		return Grant{}, errors.New("the ttl is not a number of seconds")
	}
	return Grant{User: r.User, Origin: r.Origin, Claims: r.Claims, TTL: time.Duration(r.TTL * float64(time.Second))}, nil
}

// maxSeconds keeps a ttl within a [time.Duration]; Config.MaxTTL is the real limit.
const maxSeconds = 1e6

func answerError(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]any{"error": text})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // fails only if the client left
}
