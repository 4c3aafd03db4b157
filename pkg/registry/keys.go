package registry

// Every key and channel in Redis is named here. Names that users choose are slugs
// (see wire.ValidateSlug), so that they cannot break out of their place, and the
// part in braces keeps what one script touches in one slot of a Redis Cluster.

// keyspace names the keys of one namespace.
type keyspace string

func newKeyspace(namespace string) keyspace { return keyspace("bo:" + namespace + ":") }

// events is the channel on which scripts publish the name of a service whose
// members changed, or routesEvent.
func (k keyspace) events() string { return string(k) + "ev" }

// routesEvent is published when the route table changed.
const routesEvent = "@routes"

// service names the keys of one service.
func (k keyspace) service(name string) serviceKeys {
	if name == gatewaysEntry {
		return k.gateways()
	}
	return slotKeys(string(k) + "{" + name + ".0}:")
}

// gateways names the keys of the table of gateways, which has the form of a service:
// instances are the nodes with the names of their gateways, and in place of pins
// there is an index of the audiences that a gateway has an entry for.
func (k keyspace) gateways() serviceKeys { return slotKeys(string(k) + "{gateways}:") }

// audience names the keys of one audience, and of the shelf that it is on.
func (k keyspace) audience(a Audience) audienceKeys {
	marks := k.marks(a.shelf())
	t := marks + ":" + string(a)
	return audienceKeys{hosts: t, watchers: t + ":w", marks: marks}
}

// marks is the key that says what of a shelf is whole: HASH gateway -> "<generation> <exchange that began to write>
// <last exchange> <writing or whole> <run of the server as a master>", and "begun" -> "<Redis TIME in ms since when no watcher was
// lost> <that run>".
func (k keyspace) marks(shelf int) string { return string(k) + "{" + shelfTags[shelf] + "}" }

// shelfTags put the shelves into slots of a Redis Cluster that are equally far from each
// other, so that masters with as many slots have as many shelves.
var shelfTags = [shelves]string{
	"a56", "a41", "a63", "a74", "a27", "a30", "a12", "a4",
	"a57", "a40", "a62", "a75", "a26", "a31", "a13", "a5",
	"a54", "a43", "a61", "a76", "a25", "a32", "a10", "a6",
	"a55", "a42", "a60", "a77", "a24", "a33", "a11", "a7",
}

// audienceKeys are the keys of one audience.
type audienceKeys struct {
	hosts    string // HASH generation of a gateway -> "<members> <since>"
	watchers string // ZSET node -> Redis TIME in ms until when it uses what it read; expires with the last
	marks    string // of the shelf
}

func slotKeys(t string) serviceKeys {
	return serviceKeys{
		instances: t + "i",
		counts:    t + "c",
		leases:    t + "l",
		checksums: t + "m",
		clock:     t + "k",
		version:   t + "v",
		dead:      t + "d",
		pins:      t + "p:",
	}
}

// serviceKeys are the keys of one service.
type serviceKeys struct {
	instances string // HASH instance -> "<state> <version>"
	counts    string // ZSET instance -> number of pins that name it
	leases    string // ZSET lease member -> deadline on the lease clock; 0 = condemned
	checksums string // HASH lease member of a gateway -> sum over its pins
	clock     string // HASH tick, clock, hold: the lease clock
	version   string // INT
	dead      string // ZSET lease member -> when it died; forgotten in time
	pins      string // start of the names of the HASHes socket -> instance
}

// pinsOf is the hash of pins of the gateway generation with that lease member.
func (k serviceKeys) pinsOf(member string) string {
	if len(member) < len(gatewayPrefix) {
		return k.pins
	}
	return k.pins + member[len(gatewayPrefix):]
}

// routes names the keys of the route table.
func (k keyspace) routes() routeKeys {
	t := string(k) + "{routes}:"
	return routeKeys{announcements: t + "a", routes: t + "r", leases: t + "l", clock: t + "k", version: t + "v"}
}

// routeKeys are the keys of the route table. A member is
// "<service>/<node>#<epoch>", or "@gateways/<node>#<epoch>" for a gateway.
type routeKeys struct {
	announcements string // HASH member -> JSON of what it announces
	routes        string // HASH service -> JSON of its latest living announcement
	leases        string // ZSET member -> deadline on the lease clock of this slot
	clock         string // HASH, as in serviceKeys
	version       string // INT
}

// note is what nodes noted under a name: STRING, which expires.
func (k keyspace) note(name string) string { return string(k) + "n:" + name }

// gatewaysEntry stands in place of a service in the route members of gateways. It
// is no slug, so that no service can have that name.
const gatewaysEntry = "@gateways"
