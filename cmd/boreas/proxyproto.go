package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// proxyListener accepts connections that proxies open for clients, and whose first
// bytes say for whom: the PROXY protocol, version 1 or 2. Those of other peers are
// left as they are.
type proxyListener struct {
	net.Listener
	trusted []netip.Prefix
	logger  *slog.Logger
}

func (l proxyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.isProxy(c.RemoteAddr()) {
		return c, nil
	}
	return &proxiedConn{Conn: c, logger: l.logger}, nil
}

func (l proxyListener) isProxy(peer net.Addr) bool {
	p, err := netip.ParseAddrPort(peer.String())
	return err == nil && slices.ContainsFunc(l.trusted, func(t netip.Prefix) bool { return t.Contains(p.Addr().Unmap().WithZone("")) })
}

// proxiedConn reads the header when it is first asked for something that depends
// on it, so that a slow proxy holds up nobody else.
type proxiedConn struct {
	net.Conn
	logger *slog.Logger

	once   sync.Once
	client net.Addr // nil: the proxy speaks for itself
	err    error
}

// proxyHeaderTimeout is how long a proxy may take for the header.
const proxyHeaderTimeout = 5 * time.Second

func (c *proxiedConn) header() error {
	c.once.Do(func() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(proxyHeaderTimeout)) // fails only on a closed connection
		client, err := readProxyHeader(c.Conn)
		_ = c.Conn.SetReadDeadline(time.Time{})
		if err != nil {
			c.err = fmt.Errorf("PROXY header: %w", err)
			c.logger.Warn("a trusted proxy does not speak the PROXY protocol", "proxy", c.Conn.RemoteAddr().String(), "error", err)
		} else if client.IsValid() {
			c.client = net.TCPAddrFromAddrPort(client)
		}
	})
	return c.err
}

func (c *proxiedConn) Read(p []byte) (int, error) {
	if err := c.header(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// RemoteAddr is the client's address; the proxy's, if that speaks for itself.
func (c *proxiedConn) RemoteAddr() net.Addr {
	if c.header() == nil && c.client != nil {
		return c.client
	}
	return c.Conn.RemoteAddr()
}

// CloseWrite lets a gateway end a connection in order.
func (c *proxiedConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n" // of version 2
	maxProxyLine   = 107                      // of version 1, with its end
	maxProxyTLVs   = 4 << 10                  // of version 2, addresses included
)

var (
	errProxyHeader  = errors.New("malformed")
	errProxyMissing = errors.New("missing")
)

// readProxyHeader reads a header, and not a byte more. The address is not valid if
// the proxy speaks for itself, or for something without one.
func readProxyHeader(r io.Reader) (client netip.AddrPort, err error) {
	start := make([]byte, len(proxySignature), maxProxyLine)
	if _, err := io.ReadFull(r, start); err != nil {
		return client, err
	}
	switch {
	case string(start) == proxySignature:
		return readProxyV2(r)
	case bytes.HasPrefix(start, []byte("PROXY ")):
		return readProxyV1(r, start)
	}
	return client, errProxyMissing
}

// readProxyV1 reads "PROXY TCP4 client proxy clientport proxyport\r\n", whose start
// has been read.
func readProxyV1(r io.Reader, line []byte) (client netip.AddrPort, err error) {
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == maxProxyLine {
			return client, errProxyHeader
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return client, err
		}
	}
	field := strings.Split(strings.TrimSuffix(string(line), "\r\n"), " ")
	if field[1] == "UNKNOWN" {
		return client, nil
	}
	if len(field) != 6 || field[1] != "TCP4" && field[1] != "TCP6" {
		return client, errProxyHeader
	}
	client, err = netip.ParseAddrPort(net.JoinHostPort(field[2], field[4]))
	if err != nil || client.Addr().Is4() != (field[1] == "TCP4") {
		return netip.AddrPort{}, errProxyHeader
	}
	return netip.AddrPortFrom(client.Addr().Unmap().WithZone(""), client.Port()), nil
}

// readProxyV2 reads what follows the signature: version and command, family and
// protocol, the length of the rest, the addresses, and extensions that are skipped.
func readProxyV2(r io.Reader) (client netip.AddrPort, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return client, err
	}
	length := int(binary.BigEndian.Uint16(head[2:]))
	if head[0]>>4 != 2 || head[0]&0xf > 1 || length > maxProxyTLVs {
		return client, errProxyHeader
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(r, b); err != nil {
		return client, err
	}
	size := 0 // of an address
	switch family := head[1] >> 4; {
	case head[0]&0xf == 0: // the proxy itself, such as a health check
	case family == 1:
		size = 4
	case family == 2:
		size = 16
	}
	if size == 0 {
		return client, nil
	}
	if len(b) < 2*size+4 {
		return client, errProxyHeader
	}
	ip, _ := netip.AddrFromSlice(b[:size])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(b[2*size:])), nil
}
