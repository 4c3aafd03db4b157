package router

import (
	"net/http"
	"net/url"

	"github.com/boreas-ws/boreas/pkg/envelope"
)

// with runs read on the frame if c is valid.
func (c *Context) with(do func(f *frame)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f != nil {
		do(c.f)
	}
}

// socket returns the socket, nil if c is no longer valid.
func (c *Context) socket() *socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f == nil {
		return nil
	}
	return c.f.run.socket
}

// SocketID names the client's socket: the same for all its messages.
func (c *Context) SocketID() string {
	if s := c.socket(); s != nil {
		return s.info.ID
	}
	return ""
}

// Headers are those of the client's handshake, as far as the gateway passes them
// on. Sec-WebSocket-Protocol is the negotiated subprotocol. They must not be changed.
func (c *Context) Headers() http.Header {
	if s := c.socket(); s != nil {
		return s.info.Headers
	}
	return nil
}

// RemoteAddr is the client's address, host:port, or the host alone if a proxy told no port.
func (c *Context) RemoteAddr() string {
	if s := c.socket(); s != nil {
		return s.info.RemoteAddr
	}
	return ""
}

// Query holds the parameters of the URL that the client connected to. It must not
// be changed.
func (c *Context) Query() url.Values {
	if s := c.socket(); s != nil {
		return s.info.Query
	}
	return nil
}

// Subprotocol is the negotiated WebSocket subprotocol, empty if the client named none.
func (c *Context) Subprotocol() string {
	if s := c.socket(); s != nil {
		return s.info.Subprotocol
	}
	return ""
}

// Gateway is the name of the gateway that the client is connected to, empty if it
// is connected to the router directly.
func (c *Context) Gateway() string {
	if s := c.socket(); s != nil {
		return s.info.Gateway
	}
	return ""
}

// GatewayNode is the node of the gateway that the client is connected to: which of
// the replicas that share the name it is. It is empty without a gateway.
func (c *Context) GatewayNode() string {
	if s := c.socket(); s != nil {
		return s.info.GatewayNode
	}
	return ""
}

// Instance is the node that runs this handler, empty without a backplane.
func (c *Context) Instance() string {
	if s := c.socket(); s != nil {
		return s.info.Instance
	}
	return ""
}

// MessageID is the id of the message. If the client sent none, one is made when it
// is first asked for; after that what is sent for this message carries it.
func (c *Context) MessageID() (id string) {
	c.with(func(f *frame) { id = f.messageID(true) })
	return id
}

// Path is the path of the message, in a mounted router too.
func (c *Context) Path() (path string) {
	c.with(func(f *frame) { path = f.message.Path })
	return path
}

// RawData is the message as the client sent it. It must not be changed.
func (c *Context) RawData() (data []byte) {
	c.with(func(f *frame) { data = f.message.RawData })
	return data
}

// Data is the payload of the message, still encoded. It must not be changed.
func (c *Context) Data() (data []byte) {
	c.with(func(f *frame) { data = f.message.Data })
	return data
}

// MessageType is the type of the client's message, which answers have as well.
func (c *Context) MessageType() (mt MessageType) {
	c.with(func(f *frame) { mt = f.messageType })
	return mt
}

// Params are the parameters of the pattern that fits the path, and of the mount
// paths of the routers it is in. The map is the caller's.
func (c *Context) Params() MessageParams {
	params := MessageParams{}
	c.with(func(f *frame) { f.params(params) })
	return params
}

func (f *frame) params(into MessageParams) {
	if f.above != nil {
		f.above.params(into)
	}
	for i, v := range f.values {
		into[f.pattern.names[i]] = v
	}
}

// Meta returns one value of what the client sent beside the data.
func (c *Context) Meta(key string) (value any, ok bool) {
	c.with(func(f *frame) {
		if f.message.lazyMeta != nil {
			f.message.Meta = f.message.lazyMeta(f.message.rawMeta)
			f.message.lazyMeta, f.message.rawMeta = nil, nil
		}
		value, ok = f.message.Meta[key]
	})
	return value, ok
}

// SetMessageID says which id the message has. Middleware that decodes messages calls
// it: a handler that waits for messages with that id is given this one.
func (c *Context) SetMessageID(id string) {
	c.with(func(f *frame) { f.message.ID, f.message.hasSetID = id, true })
}

// SetMessagePath says which path the message has: the handlers after the current
// one are found by it.
func (c *Context) SetMessagePath(path string) {
	c.with(func(f *frame) { f.setPath(path) })
}

func (f *frame) setPath(path string) {
	if f.base > len(path) || f.base > len(f.message.Path) || path[:f.base] != f.message.Path[:f.base] {
		f.base = 0
	}
	f.message.Path, f.message.hasSetPath, f.checked = path, true, false
	f.run.mu.Lock()
	if f.run.path == "" {
		f.run.path = path
	}
	f.run.mu.Unlock()
}

// SetMessageRawData replaces what RawData returns.
func (c *Context) SetMessageRawData(data []byte) {
	c.with(func(f *frame) { f.message.RawData = data })
}

// SetMessageData replaces what Data returns and Receive decodes.
func (c *Context) SetMessageData(data []byte) {
	c.with(func(f *frame) { f.message.Data = data })
}

// SetMessageMeta replaces what Meta looks in.
func (c *Context) SetMessageMeta(meta map[string]any) {
	c.with(func(f *frame) { f.message.Meta, f.message.lazyMeta, f.message.rawMeta = meta, nil, nil })
}

// SetMessageUnmarshaler sets what decodes Data for ReceiveInto, RequestInto and
// Unmarshal, for the handlers after the current one too.
func (c *Context) SetMessageUnmarshaler(unmarshaler func(message *InboundMessage, into any) error) {
	c.with(func(f *frame) { f.unmarshal = unmarshaler })
}

// SetMessageMarshaller sets what encodes the messages of Send and Request, for the
// handlers after the current one too.
func (c *Context) SetMessageMarshaller(marshaller func(message *OutboundMessage) ([]byte, error)) {
	c.with(func(f *frame) { f.marshal = marshaller })
}

// encoding is the one in which the client is answered when no marshaller is at hand.
func (f *frame) encoding() envelope.Encoding {
	if f.codec != nil {
		return f.codec.Encoding
	}
	return f.run.socket.encoding
}

// Set keeps a value for the handlers of this message.
func (c *Context) Set(key string, value any) {
	c.with(func(f *frame) { f.run.values.set(key, value) })
}

// Get returns what Set kept.
func (c *Context) Get(key string) (value any, ok bool) {
	c.with(func(f *frame) { value, ok = f.run.values.get(key) })
	return value, ok
}

// MustGet is Get, but panics if there is no value.
func (c *Context) MustGet(key string) any {
	v, ok := c.Get(key)
	if !ok {
		panic("router: nothing is set for " + key)
	}
	return v
}

// Delete removes what Set kept.
func (c *Context) Delete(key string) {
	c.with(func(f *frame) { f.run.values.remove(key) })
}

// SetOnSocket keeps a value for all handlers of this socket, for as long as it lives.
func (c *Context) SetOnSocket(key string, value any) {
	if s := c.socket(); s != nil {
		s.values.set(key, value)
	}
}

// GetFromSocket returns what SetOnSocket kept.
func (c *Context) GetFromSocket(key string) (any, bool) {
	if s := c.socket(); s != nil {
		return s.values.get(key)
	}
	return nil, false
}

// MustGetFromSocket is GetFromSocket, but panics if there is no value.
func (c *Context) MustGetFromSocket(key string) any {
	s := c.socket()
	if s == nil {
		panic(ErrContextFreed)
	}
	v, ok := s.values.get(key)
	if !ok {
		panic("router: nothing is set on the socket for " + key)
	}
	return v
}

// DeleteFromSocket removes what SetOnSocket kept.
func (c *Context) DeleteFromSocket(key string) {
	if s := c.socket(); s != nil {
		s.values.remove(key)
	}
}
