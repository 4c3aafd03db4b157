package registry

import (
	"context"
	"crypto/sha1" //nolint:gosec // a checksum that Lua can compute too; nobody attacks it
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Audience names a user or a group in Redis: "u." or "g." and a hash of the name,
// because names are the users' to choose.
type Audience string

// UserAudience is all sockets of a user.
func UserAudience(user string) Audience { return audience("u.", user) }

// GroupAudience is all sockets that joined a group.
func GroupAudience(group string) Audience { return audience("g.", group) }

func audience(prefix, name string) Audience {
	sum := sha256.Sum256([]byte(name))
	return Audience(prefix + base64.RawURLEncoding.EncodeToString(sum[:]))
}

// shelves is how many slots the audiences share. What Redis has of each is whole, or
// known not to be.
const shelves = 32

func (a Audience) shelf() int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(a))
	return int(h.Sum32() % shelves)
}

// Hosting is what one gateway's node has of an audience.
type Hosting struct {
	Members int       // sockets; 0: none
	Since   time.Time // when the first of them came, to the millisecond
}

// entry is the form in Redis; "" for no members.
func (h Hosting) entry() string {
	if h.Members <= 0 {
		return ""
	}
	return strconv.Itoa(h.Members) + " " + strconv.FormatInt(h.Since.UnixMilli(), 10)
}

func parseHosting(s string) Hosting {
	members, since, _ := strings.Cut(s, " ")
	n, _ := strconv.Atoi(members)
	ms, _ := strconv.ParseInt(since, 10, 64)
	return Hosting{Members: n, Since: time.UnixMilli(ms)}
}

// Watcher is a node that may go on using what it read about an audience. Without a
// Node it stands for those that Redis has lost.
type Watcher struct {
	Node wire.Incarnation
	Left time.Duration // after that it reads again
}

// WatchTTL is for how long a node may use what [Registry.Hosts] returned, counted
// from before the call.
func (r *Registry) WatchTTL() time.Duration { return r.watchLease() * 2 / 3 }

// watchLease is how long Redis keeps a watcher. What it exceeds WatchTTL by is for
// clocks that do not run alike.
func (r *Registry) watchLease() time.Duration { return r.cfg.LeaseTTL / 2 }

// keepMarks is how long Redis keeps the marks of a shelf that nobody marks.
func (r *Registry) keepMarks() time.Duration { return 10 * r.cfg.LeaseTTL }

// Hosts reads which gateways host an audience. With watch, this node may use the
// answer for WatchTTL, and a gateway that begins to host the audience before then
// tells it (see [Registry.Host]). It must read again when a gateway joins. Gateways
// that died within the last LeaseTTL may be among them; so are, without members, those
// of which Redis may have lost entries.
func (r *Registry) Hosts(ctx context.Context, a Audience, watch bool) (map[wire.Incarnation]Hosting, error) {
	k := r.keys.audience(a)
	ttl := int64(0)
	if watch {
		ttl = ms(r.watchLease())
	}
	c := &call{script: scriptHosts, keys: []string{k.hosts, k.watchers, k.marks}, args: []any{r.self(), ttl}, n: 1}
	if err := r.exec(ctx, c); err != nil {
		return nil, fmt.Errorf("read the hosts of an audience: %w", err)
	}
	flat, living := texts(at(c.reply, 0)), r.View().Gateways
	whole := make(map[wire.Incarnation]bool, len(living))
	for _, g := range texts(at(c.reply, 1)) {
		whole[incarnation(g)] = true
	}
	hosts := make(map[wire.Incarnation]Hosting, len(flat)/2)
	for g := range living {
		if !mutantMarks && !whole[g] {
			hosts[g] = Hosting{}
		}
	}
	strangers := map[member]Hosting{}
	for n := 0; n+1 < len(flat); n += 2 {
		m, err := parseMember(gatewayPrefix + flat[n])
		if err != nil {
			continue
		}
		if _, lives := living[m.incarnation]; lives {
			hosts[m.incarnation] = parseHosting(flat[n+1])
		} else {
			strangers[m] = parseHosting(flat[n+1])
		}
	}
	if len(strangers) == 0 {
		return hosts, nil
	}
	if err := r.removeOrphans(ctx, a, strangers); err != nil {
		return nil, fmt.Errorf("read the hosts of an audience: %w", err)
	}
	for m, h := range strangers {
		hosts[m.incarnation] = h
	}
	return hosts, nil
}

// Host says what this node, which must be a gateway, has of an audience from now on;
// no members: nothing. It does not block; Redis learns of it soon, in one exchange
// with whatever else gathered meanwhile, and again after it lost data.
//
// With seen, which must be there when the node had nothing of the audience, seen is
// called once Redis has an entry, with those who may go on without knowing: from when
// they have been told, or their time is over, every push finds this node. It is
// called from one of the registry's goroutines and must not block. It may be called
// again, when this node was taken for dead or Redis has lost its lease; with an error,
// if the node is or becomes no gateway.
func (r *Registry) Host(a Audience, h Hosting, seen func([]Watcher, error)) {
	r.mu.Lock()
	l := r.roster
	r.mu.Unlock()
	if l == nil {
		if h.Members > 0 && seen != nil {
			seen(nil, fmt.Errorf("%w: JoinGateway comes first", ErrNotJoined))
		}
		return
	}
	l.host(a, h, seen)
}

// audienceSum is what one audience adds to the checksum of an index, as the script
// computes it.
func audienceSum(a Audience) int64 {
	h := sha1.Sum([]byte(a)) //nolint:gosec // as above
	return int64(h[0])<<32 | int64(h[1])<<24 | int64(h[2])<<16 | int64(h[3])<<8 | int64(h[4])
}
