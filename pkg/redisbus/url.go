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
	optTLSCA         = "tls_ca"
	optTLSCert       = "tls_cert"
	optTLSKey        = "tls_key"
	optTLSServerName = "tls_server_name"
	optTLSSkipVerify = "tls_skip_verify"
)

var knownOptions = []string{
	optDB, optDialTimeout, optTLSCA, optTLSCert, optTLSKey, optTLSServerName, optTLSSkipVerify,
}

// errNotURL quotes nothing: what could not be parsed may be part of a password.
var errNotURL = errors.New("redis URL: not a valid URL; characters such as / ? # @ % in a user or password " +
	"must be percent-encoded")

// ParseURL reads the address of a Redis server:
//
//	redis://user:password@host:6379/0
//	rediss://host:6380?tls_ca=/etc/redis/ca.pem      the same over TLS
//	unix://user:password@/run/redis.sock?db=0
//
// User, password, port (6379) and database (0) may be left out; a password without
// a user is written redis://:password@host. The options are
//
//	db               database number, in place of the path
//	dial_timeout     longest time to connect, such as 500ms; default 2s
//	tls_ca           file with the PEM certificates to trust; default: those of the system
//	tls_cert         file with the client's PEM certificate, together with tls_key
//	tls_key          file with the key of tls_cert
//	tls_server_name  name to verify in the server's certificate; default: the host
//	tls_skip_verify  true trusts any certificate: for tests
//
// Files are read at once. All problems are reported together; errors name the
// option concerned and never contain the user or the password.
func ParseURL(raw string) (*Topology, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errNotURL
	}
	if u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix" {
		return nil, errors.New("redis URL: must start with redis://, rediss:// or unix://")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" || u.Opaque != "" || !allNames(query) {
		return nil, errNotURL
	}
	p := urlParser{u: u, query: query, t: &Topology{dialTimeout: defaultDialTimeout}}
	if u.Scheme == "unix" {
		p.unix()
	} else {
		p.tcp()
	}
	p.user()
	p.options()
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	p.t.redacted = u.Redacted()
	return p.t, nil
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
	t     *Topology
	errs  []error
}

func (p *urlParser) errorf(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("redis URL: "+format, args...))
}

func (p *urlParser) tcp() {
	host, port := p.u.Hostname(), p.u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = "6379"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		p.errorf("the port must be a number from 1 to 65535")
	}
	p.t.network, p.t.addr = "tcp", net.JoinHostPort(host, port)
	if db := strings.Trim(p.u.Path, "/"); db != "" {
		p.db("path", db)
	}
	if p.u.Scheme == "rediss" {
		p.t.tls = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	}
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
		case strings.HasPrefix(name, "tls_") && p.t.tls == nil:
			p.errorf("%s needs TLS: use rediss:// in place of %s://", name, p.u.Scheme)
		}
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
