package redisbus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The options of a Redis URL.
const (
	optDB            = "db"
	optDialTimeout   = "dial_timeout"
	optSentinelUser  = "sentinel_user"
	optSentinelPass  = "sentinel_password"
	optTLSCA         = "tls_ca"
	optTLSCert       = "tls_cert"
	optTLSKey        = "tls_key"
	optTLSServerName = "tls_server_name"
	optTLSSkipVerify = "tls_skip_verify"
)

var knownOptions = []string{
	optDB, optDialTimeout, optSentinelUser, optSentinelPass, optTLSCA, optTLSCert, optTLSKey, optTLSServerName, optTLSSkipVerify,
}

// errNotURL quotes nothing: what could not be parsed may be part of a password.
var errNotURL = errors.New("redis URL: not a valid URL; characters such as / ? # @ % in a user or password " +
	"must be percent-encoded")

// ParseURL reads the address of a Redis:
//
//	redis://user:password@host:6379/0
//	rediss://host:6380?tls_ca=/etc/redis/ca.pem      the same over TLS
//	unix://user:password@/run/redis.sock?db=0
//	redis+sentinel://host:26379,host,host/master-name/0
//	redis+cluster://host:6379,host,host              some of its nodes
//
// User, password, ports (6379; sentinels 26379) and database (0) may be left out; a
// password without a user is written redis://:password@host. rediss+sentinel:// and
// rediss+cluster:// use TLS, with the sentinels too. The options are
//
//	db                 database number, in place of the path
//	dial_timeout       longest time to connect, such as 500ms; default 2s
//	sentinel_user      user at the sentinels; default: none
//	sentinel_password  password at the sentinels; default: none
//	tls_ca             file with the PEM certificates to trust; default: those of the system
//	tls_cert           file with the client's PEM certificate, together with tls_key
//	tls_key            file with the key of tls_cert
//	tls_server_name    name to verify in the server's certificate; default: the host
//	tls_skip_verify    true trusts any certificate: for tests
//
// Files are read at once. All problems are reported together; errors name the
// option concerned and never contain the user or the password.
func ParseURL(raw string) (*Topology, error) {
	raw, hosts := splitHosts(raw)
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errNotURL
	}
	scheme, organised, _ := strings.Cut(u.Scheme, "+")
	kind, known := map[string]kind{"": standalone, "sentinel": sentinel, "cluster": cluster}[organised]
	if !known || scheme != "redis" && scheme != "rediss" && u.Scheme != "unix" {
		return nil, errors.New("redis URL: must start with redis://, rediss:// or unix://, or with redis or rediss " +
			"and +sentinel:// or +cluster://")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" || u.Opaque != "" || !allNames(query) {
		return nil, errNotURL
	}
	p := urlParser{u: u, query: query, hosts: hosts, t: &Topology{kind: kind, dialTimeout: defaultDialTimeout}}
	switch {
	case u.Scheme == "unix":
		p.unix()
	case kind == standalone:
		p.tcp()
	default:
		p.several()
	}
	if scheme == "rediss" {
		p.t.tls = &tls.Config{MinVersion: tls.VersionTLS12} // by default the name is the host that is dialled
	}
	p.user()
	p.options()
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	p.t.redacted = p.redacted()
	return p.t, nil
}

// splitHosts takes all hosts but the first out of a URL, which then has the form
// that net/url knows. The list holds all of them.
func splitHosts(raw string) (short string, hosts []string) {
	start := strings.Index(raw, "://")
	if start < 0 {
		return raw, nil
	}
	start += len("://")
	end := len(raw)
	if n := strings.IndexAny(raw[start:], "/?#"); n >= 0 {
		end = start + n
	}
	if n := strings.LastIndexByte(raw[start:end], '@'); n >= 0 {
		start += n + 1
	}
	hosts = strings.Split(raw[start:end], ",")
	return raw[:start] + hosts[0] + raw[end:], hosts
}

// allNames reports whether the options have names that are safe to quote. A part of
// a password that strayed here, as in redis://:se?cret@host, has not.
func allNames(query url.Values) bool {
	for name := range query {
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return false
		}
	}
	return true
}

// urlParser collects the problems of one URL.
type urlParser struct {
	u     *url.URL
	query url.Values
	hosts []string
	t     *Topology
	errs  []error
}

func (p *urlParser) errorf(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("redis URL: "+format, args...))
}

func (p *urlParser) tcp() {
	if len(p.hosts) > 1 {
		p.errorf("takes one host; several need redis+sentinel:// or redis+cluster://")
	}
	host := p.u.Hostname()
	if host == "" {
		host = "localhost"
	}
	p.t.network, p.t.addr = "tcp", net.JoinHostPort(host, p.port(p.u.Port(), "6379"))
	if db := strings.Trim(p.u.Path, "/"); db != "" {
		p.db("path", db)
	}
}

func (p *urlParser) port(port, otherwise string) string {
	if port == "" {
		return otherwise
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		p.errorf("the port must be a number from 1 to 65535")
	}
	return port
}

// several reads the hosts of sentinels or of a cluster.
func (p *urlParser) several() {
	p.t.network = "tcp"
	path := strings.Trim(p.u.Path, "/")
	port := "6379"
	if p.t.kind == cluster {
		if path != "" || p.query.Has(optDB) {
			p.errorf("a cluster has no databases")
		}
	} else {
		port = "26379"
		name, db, _ := strings.Cut(path, "/")
		if p.t.master = name; name == "" {
			p.errorf("needs the master's name: redis+sentinel://host:26379/master-name")
		}
		if db != "" {
			p.db("path", db)
		}
	}
	for _, h := range p.hosts {
		one, err := url.Parse("redis://" + h)
		if err != nil || one.Hostname() == "" || one.Host != h {
			p.errorf("a host, or its port, is missing or malformed")
			continue
		}
		p.t.addrs = append(p.t.addrs, net.JoinHostPort(one.Hostname(), p.port(one.Port(), port)))
	}
}

// redacted is the URL without its passwords.
func (p *urlParser) redacted() string {
	u := *p.u
	if p.query.Has(optSentinelPass) {
		p.query.Set(optSentinelPass, "xxxxx")
		u.RawQuery = p.query.Encode()
	}
	if len(p.hosts) < 2 {
		return u.Redacted()
	}
	// net/url takes one host only. An @ in a user is escaped.
	u.Host = "hosts"
	before := "://"
	if u.User != nil {
		before = "@"
	}
	return strings.Replace(u.Redacted(), before+u.Host, before+strings.Join(p.hosts, ","), 1)
}

func (p *urlParser) unix() {
	if p.u.Host != "" || p.u.Path == "" || p.u.Path == "/" {
		p.errorf("unix:// needs the absolute path of a socket: unix:///run/redis.sock")
	}
	p.t.network, p.t.addr = "unix", p.u.Path
}

func (p *urlParser) user() {
	if p.u.User == nil {
		return
	}
	password, ok := p.u.User.Password()
	if !ok || password == "" {
		p.errorf("a user without a password; a password without a user is written redis://:password@host")
	}
	p.t.username, p.t.password = p.u.User.Username(), password
}

func (p *urlParser) db(where, s string) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		p.errorf("%s: the database must be a number", where)
	}
	p.t.db = int(n)
}

func (p *urlParser) options() {
	for _, name := range slices.Sorted(maps.Keys(p.query)) {
		switch {
		case !slices.Contains(knownOptions, name):
			p.errorf("unknown option %q; known are %s", name, strings.Join(knownOptions, ", "))
		case len(p.query[name]) > 1:
			p.errorf("%s is given more than once", name)
		case strings.HasPrefix(name, "sentinel_") && p.t.kind != sentinel:
			p.errorf("%s needs redis+sentinel://", name)
		case strings.HasPrefix(name, "tls_") && p.t.tls == nil:
			p.errorf("%s needs TLS: use rediss:// in place of %s://", name, p.u.Scheme)
		}
	}
	p.t.sentinelUser, p.t.sentinelPassword = p.query.Get(optSentinelUser), p.query.Get(optSentinelPass)
	if p.t.sentinelUser != "" && p.t.sentinelPassword == "" {
		p.errorf("%s without %s", optSentinelUser, optSentinelPass)
	}
	if s := p.query.Get(optDB); s != "" {
		if p.t.db != 0 {
			p.errorf("%s: the database is in the path already", optDB)
		}
		p.db(optDB, s)
	}
	if s := p.query.Get(optDialTimeout); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			p.errorf("%s: %q is not a positive duration such as 500ms", optDialTimeout, s)
		}
		p.t.dialTimeout = d
	}
	if p.t.tls != nil {
		p.tlsOptions()
	}
}

func (p *urlParser) tlsOptions() {
	c := p.t.tls
	if file := p.query.Get(optTLSCA); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			p.errorf("%s: %w", optTLSCA, err)
		} else if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			p.errorf("%s: %s holds no PEM certificate", optTLSCA, file)
		}
	}
	certFile, keyFile := p.query.Get(optTLSCert), p.query.Get(optTLSKey)
	switch {
	case (certFile == "") != (keyFile == ""):
		p.errorf("%s and %s must be given together", optTLSCert, optTLSKey)
	case certFile != "":
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			p.errorf("%s, %s: %w", optTLSCert, optTLSKey, err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	if name := p.query.Get(optTLSServerName); name != "" {
		c.ServerName = name
	}
	if s := p.query.Get(optTLSSkipVerify); s != "" {
		skip, err := strconv.ParseBool(s)
		if err != nil {
			p.errorf("%s: %q is neither true nor false", optTLSSkipVerify, s)
		}
		c.InsecureSkipVerify = skip
	}
}
