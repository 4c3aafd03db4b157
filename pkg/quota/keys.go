package quota

import (
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
)

// Kind is what a subject is.
type Kind byte

// The kinds of subjects.
const (
	Address Kind = 'a'
	User    Kind = 'u'
)

// Every key is named here. Names from outside are hashed, and each subject has a
// slot of its own.

func (q *Quota) subjectKey(k Kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return "bo:" + q.cfg.Namespace + ":{q" + string(rune(k)) + "." + base64.RawURLEncoding.EncodeToString(sum[:16]) + "}"
}

func (q *Quota) gatewaysKey() string { return "bo:" + q.cfg.Namespace + ":{quota}:g" }

// AddressName is the name of the subject that an address belongs to: itself, or its
// /64 in IPv6, which is what one customer of a network gets at least.
func AddressName(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().String()
	}
	return a.String()
}
