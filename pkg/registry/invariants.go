package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Violation is one thing in Redis that should not be.
type Violation struct {
	Service string // or "@routes"
	Detail  string
}

func (v Violation) String() string { return v.Service + ": " + v.Detail }

// Check reads a whole namespace and reports everything that breaks what the
// scripts keep true between any two of them:
//
//   - the count of an instance equals the number of pins that name it, for every
//     name; a name without pins is counted (0) only while the instance has an entry;
//   - an instance has an entry if and only if it has a lease;
//   - a hash of pins belongs to a lease; a gateway has a checksum if and only if its
//     lease is not condemned, and it fits its pins;
//   - an announcement has a lease, and a service's routes are those that its latest
//     started living instance announced.
//
// It reads everything, and blocks Redis meanwhile: for tests and chaos runs only.
func Check(ctx context.Context, client redis.UniversalClient, namespace string) ([]Violation, error) {
	keys := newKeyspace(namespace)
	found, err := scan(ctx, client, string(keys)+"{*")
	if err != nil {
		return nil, fmt.Errorf("check: scan: %w", err)
	}
	services := map[string][]string{} // -> hashes of pins
	for _, key := range found {
		tag, kind, ok := strings.Cut(strings.TrimPrefix(key, string(keys)+"{"), "}:")
		name, isService := strings.CutSuffix(tag, ".0")
		if !ok || !isService {
			continue
		}
		services[name] = append(services[name], nil...)
		if strings.HasPrefix(kind, "p:") {
			services[name] = append(services[name], key)
		}
	}
	var all []Violation
	for _, name := range slices.Sorted(maps.Keys(services)) {
		a, err := readAudit(ctx, client, keys.service(name), services[name])
		if err != nil {
			return nil, fmt.Errorf("check: service %q: %w", name, err)
		}
		for _, detail := range a.violations() {
			all = append(all, Violation{name, detail})
		}
	}
	details, err := checkRoutes(ctx, client, keys.routes())
	if err != nil {
		return nil, fmt.Errorf("check: routes: %w", err)
	}
	for _, detail := range details {
		all = append(all, Violation{routesEvent, detail})
	}
	return all, nil
}

// scan returns the keys that match, once each, of all masters if there are several.
func scan(ctx context.Context, client redis.UniversalClient, match string) ([]string, error) {
	var mu sync.Mutex
	found := map[string]struct{}{}
	one := func(ctx context.Context, client redis.Cmdable) error {
		keys := client.Scan(ctx, 0, match, 1000).Iterator()
		for keys.Next(ctx) {
			mu.Lock()
			found[keys.Val()] = struct{}{}
			mu.Unlock()
		}
		return keys.Err()
	}
	var err error
	if cluster, ok := client.(interface {
		ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error
	}); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return one(ctx, c) })
	} else {
		err = one(ctx, client)
	}
	return slices.Sorted(maps.Keys(found)), err
}

// audit is everything that Redis has of a service.
type audit struct {
	entries   map[string]string
	counts    map[string]string
	leases    map[string]string
	checksums map[string]string
	pins      map[string]map[string]string // lease member of a gateway -> socket -> instance
}

func readAudit(ctx context.Context, client redis.UniversalClient, k serviceKeys, hashes []string) (audit, error) {
	keys := append([]string{k.instances, k.counts, k.leases, k.checksums}, hashes...)
	reply, err := client.Eval(ctx, scriptAudit.text, keys, k.pins).Slice()
	if err != nil {
		return audit{}, err
	}
	a := audit{
		entries:   pairs(texts(at(reply, 0))),
		counts:    pairs(texts(at(reply, 1))),
		leases:    pairs(texts(at(reply, 2))),
		checksums: pairs(texts(at(reply, 3))),
		pins:      map[string]map[string]string{},
	}
	list, _ := at(reply, 4).([]any)
	for n := 0; n+1 < len(list); n += 2 {
		a.pins[gatewayPrefix+text(list[n])] = pairs(texts(list[n+1]))
	}
	return a, nil
}

// pairs makes a map of key, value, key, value...
func pairs(flat []string) map[string]string {
	m := make(map[string]string, len(flat)/2)
	for n := 0; n+1 < len(flat); n += 2 {
		m[flat[n]] = flat[n+1]
	}
	return m
}

// violations says what is wrong.
func (a audit) violations() []string {
	var list []string
	bad := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }

	named := map[string]int64{}
	for gateway, pins := range a.pins {
		sum := int64(0)
		for socket, name := range pins {
			named[name]++
			sum += pinSum(wire.SocketID(socket), incarnation(name))
		}
		deadline, leased := a.leases[gateway]
		checksum, summed := a.checksums[gateway]
		switch good := number(deadline) > 0; {
		case !leased && len(pins) > 0:
			bad("%d pins of %s, which has no lease", len(pins), gateway)
		case leased && good != summed:
			bad("%s: lease %s, but checksum %q", gateway, deadline, checksum)
		case leased && good && checksum != strconv.FormatInt(sum, 10):
			bad("%s: checksum %s, but its %d pins have %d", gateway, checksum, len(pins), sum)
		}
	}
	for gateway := range a.checksums {
		if _, leased := a.leases[gateway]; !leased {
			bad("%s has a checksum but no lease", gateway)
		}
	}
	for name, count := range a.counts {
		_, entered := a.entries[name]
		if number(count) != named[name] {
			bad("%s counts %s pins, but %d name it", name, count, named[name])
		}
		if !entered && named[name] == 0 {
			bad("%s is counted, but has neither an entry nor pins", name)
		}
	}
	for name := range named {
		if _, counted := a.counts[name]; !counted {
			bad("%d pins name %s, which is not counted", named[name], name)
		}
	}
	for name, entry := range a.entries {
		if _, leased := a.leases[instancePrefix+name]; !leased {
			bad("instance %s has an entry but no lease", name)
		}
		if _, counted := a.counts[name]; !counted {
			bad("instance %s has an entry but no count", name)
		}
		if state, _, _ := strings.Cut(entry, " "); state != string(StateServing) && state != string(StateDraining) {
			bad("instance %s has the entry %q", name, entry)
		}
	}
	for lease := range a.leases {
		m, err := parseMember(lease)
		if err != nil {
			bad("%v", err)
			continue
		}
		if _, entered := a.entries[m.incarnation.String()]; m.kind == KindInstance && !entered {
			bad("%s has a lease but no entry", lease)
		}
	}
	slices.Sort(list)
	return list
}

// checkRoutes says what is wrong with the route table.
func checkRoutes(ctx context.Context, client redis.UniversalClient, k routeKeys) ([]string, error) {
	tx := client.TxPipeline()
	announced := tx.HGetAll(ctx, k.announcements)
	table := tx.HGetAll(ctx, k.routes)
	leases := tx.ZRange(ctx, k.leases, 0, -1)
	if _, err := tx.Exec(ctx); err != nil {
		return nil, err
	}
	var list []string
	bad := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }

	latest := map[string]wire.Incarnation{}
	for _, entry := range leases.Val() {
		service, name, _ := strings.Cut(entry, "/")
		who := incarnation(name)
		if _, ok := announced.Val()[entry]; !ok || who.IsZero() {
			bad("%s has a lease but announces nothing", entry)
		}
		have := latest[service]
		if service != gatewaysEntry && (have.IsZero() || who.Epoch > have.Epoch || who.Epoch == have.Epoch && who.Node > have.Node) {
			latest[service] = who
		}
	}
	if len(announced.Val()) != len(leases.Val()) {
		bad("%d announcements, but %d leases", len(announced.Val()), len(leases.Val()))
	}
	for service, who := range latest {
		if table.Val()[service] != announced.Val()[service+"/"+who.String()] {
			bad("the routes of %s are not those that %s announced", service, who)
		}
	}
	for service := range table.Val() {
		if _, ok := latest[service]; !ok {
			bad("%s has routes but no instance announces any", service)
		}
	}
	slices.Sort(list)
	return list, nil
}
