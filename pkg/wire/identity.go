package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"time"
)

// MaxIdentity is the most that an encoded identity takes, in bytes: each socket
// holds it, and each of its instances gets it.
const MaxIdentity = 8 << 10

// Identity is who a client is, as its gateway established it. The zero value is
// an anonymous client. It is the body of an Identity frame, which tells an
// acceptor that the identity of an open stream has changed, and is what
// Open.Identity holds.
type Identity struct {
	User   string // "" for an anonymous client
	Method string // by which it was established: "ticket", "jwt", "webhook"
	// Claims is a JSON object with what the credential says beside that, or empty.
	// It must not be changed.
	Claims []byte
	// Expires is when the identity ends and with it the connection, in whole
	// milliseconds; zero: not before the connection.
	Expires time.Time
}

// IsZero reports whether the client is anonymous and nothing is known about it.
func (i Identity) IsZero() bool {
	return i.User == "" && i.Method == "" && len(i.Claims) == 0 && i.Expires.IsZero()
}

// ErrNoClaims is returned by [Identity.UnmarshalClaims] when there are none.
var ErrNoClaims = errors.New("the identity has no claims")

// UnmarshalClaims decodes the claims as encoding/json does.
func (i Identity) UnmarshalClaims(into any) error {
	if len(i.Claims) == 0 {
		return ErrNoClaims
	}
	return json.Unmarshal(i.Claims, into)
}

// Append writes the identity; nothing for the zero one.
func (i Identity) Append(b []byte) []byte {
	if i.IsZero() {
		return b
	}
	b = appendString(appendString(b, i.User), i.Method)
	b = appendString(b, string(i.Claims))
	expires := uint64(0)
	if ms := i.Expires.UnixMilli(); !i.Expires.IsZero() && ms > 0 {
		expires = uint64(ms)
	}
	return binary.AppendUvarint(b, expires)
}

// ParseIdentity reads what [Identity.Append] wrote. Claims aliases body.
func ParseIdentity(body []byte) (Identity, error) {
	if len(body) == 0 {
		return Identity{}, nil
	}
	f := fields{rest: body}
	i := Identity{User: f.string(), Method: f.string(), Claims: f.bytes()}
	ms := f.uvarint()
	if ms > math.MaxInt64 {
		f.fail("time over 63 bits")
	}
	if err := f.end(); err != nil {
		return Identity{}, err
	}
	if len(i.Claims) == 0 {
		i.Claims = nil
	}
	if ms > 0 {
		i.Expires = time.UnixMilli(int64(ms)).UTC()
	}
	return i, nil
}
