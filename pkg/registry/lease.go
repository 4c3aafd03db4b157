package registry

import (
	"crypto/sha1" //nolint:gosec // a checksum that Lua can compute too; nobody attacks it
	"fmt"
	"strconv"
	"strings"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// MemberKind says what holds a lease.
type MemberKind string

// The kinds of members.
const (
	KindInstance MemberKind = "instance"
	KindGateway  MemberKind = "gateway"
)

const (
	instancePrefix = "i:"
	gatewayPrefix  = "g:"
)

// member is the holder of a lease in a service: an instance, or one generation of
// a gateway.
type member struct {
	kind        MemberKind
	incarnation wire.Incarnation
	generation  uint64 // of a gateway
}

func instanceMember(i wire.Incarnation) member {
	return member{kind: KindInstance, incarnation: i}
}

func gatewayMember(i wire.Incarnation, generation uint64) member {
	return member{kind: KindGateway, incarnation: i, generation: generation}
}

// String is the form in Redis.
func (m member) String() string {
	if m.kind == KindInstance {
		return instancePrefix + m.incarnation.String()
	}
	return gatewayPrefix + m.incarnation.String() + "." + strconv.FormatUint(m.generation, 10)
}

// parseMember reads what member.String wrote.
func parseMember(s string) (member, error) {
	if rest, ok := strings.CutPrefix(s, instancePrefix); ok {
		i, err := wire.ParseIncarnation(rest)
		return instanceMember(i), err
	}
	rest, ok := strings.CutPrefix(s, gatewayPrefix)
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot < 0 {
		return member{}, fmt.Errorf("lease member %q: want i:<node>#<epoch> or g:<node>#<epoch>.<generation>", s)
	}
	i, err := wire.ParseIncarnation(rest[:dot])
	if err != nil {
		return member{}, fmt.Errorf("lease member %q: %w", s, err)
	}
	n, err := strconv.ParseUint(rest[dot+1:], 10, 64)
	if err != nil {
		return member{}, fmt.Errorf("lease member %q: generation: %w", s, err)
	}
	return gatewayMember(i, n), nil
}

// pinSum is what one pin adds to the checksum of its gateway: 40 bits, so that
// eight million of them fit in the signed 64 of a Redis hash. The scripts compute
// the same.
func pinSum(socket wire.SocketID, instance wire.Incarnation) int64 {
	b := make([]byte, 0, 128)
	b = append(b, instance.Node...)
	b = append(b, '#')
	b = strconv.AppendUint(b, uint64(instance.Epoch), 36)
	b = append(b, '/')
	b = append(b, socket...)
	h := sha1.Sum(b) //nolint:gosec // as above
	return int64(h[0])<<32 | int64(h[1])<<24 | int64(h[2])<<16 | int64(h[3])<<8 | int64(h[4])
}
