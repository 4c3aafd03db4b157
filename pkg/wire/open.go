package wire

import "encoding/binary"

// Open starts a stream: it tells the instance whose messages follow.
type Open struct {
	Service     string
	Socket      SocketID
	Gateway     string // the gateway's name, shared by its replicas
	RemoteAddr  string // the client's address, host:port; no port if a proxy told none
	Path        string // the path of the handshake's URL
	Query       string // the raw query of the handshake's URL
	Subprotocol string // the negotiated subprotocol; "" when the client named none
	Encoding    byte   // the envelope encoding (package envelope)
	Credit      uint32 // what the acceptor may send before the first Credit, in bytes
	Identity    []byte // who the client is, an encoded [Identity]; empty: anonymous
	Headers     []HeaderField
}

// HeaderField is one allow-listed header of the handshake, in canonical form.
type HeaderField struct{ Name, Value string }

// Append writes the body.
func (o Open) Append(b []byte) []byte {
	b = appendString(b, o.Service)
	b = appendString(b, string(o.Socket))
	b = appendString(b, o.Gateway)
	b = appendString(b, o.RemoteAddr)
	b = appendString(b, o.Path)
	b = appendString(b, o.Query)
	b = appendString(b, o.Subprotocol)
	b = append(b, o.Encoding)
	b = binary.AppendUvarint(b, uint64(o.Credit))
	b = appendString(b, string(o.Identity))
	b = binary.AppendUvarint(b, uint64(len(o.Headers)))
	for _, h := range o.Headers {
		b = appendString(appendString(b, h.Name), h.Value)
	}
	return b
}

// ParseOpen reads the body of an Open frame.
func ParseOpen(body []byte) (Open, error) {
	f := fields{rest: body}
	o := Open{
		Service:     f.string(),
		Socket:      SocketID(f.string()),
		Gateway:     f.string(),
		RemoteAddr:  f.string(),
		Path:        f.string(),
		Query:       f.string(),
		Subprotocol: f.string(),
		Encoding:    f.byte(),
		Credit:      f.uint32(),
		Identity:    f.bytes(),
	}
	n := f.uvarint()
	if n > uint64(len(f.rest))/2 { // a field takes two bytes at least
		f.fail("header count")
		n = 0
	}
	if n > 0 {
		o.Headers = make([]HeaderField, 0, n)
	}
	for range n {
		o.Headers = append(o.Headers, HeaderField{Name: f.string(), Value: f.string()})
	}
	if err := f.end(); err != nil {
		return Open{}, err
	}
	return o, nil
}
