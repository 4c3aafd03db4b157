package router

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Codec is what the middleware of an encoding knows how to do.
type Codec struct {
	Encoding envelope.Encoding
	// Unmarshal decodes message.Data.
	Unmarshal func(message *InboundMessage, into any) error
	// Append appends the whole encoded message to dst.
	Append func(dst []byte, message OutboundMessage) ([]byte, error)
	// Meta decodes the metadata of a message; nil if that is not valid.
	Meta func(raw []byte) map[string]any
}

// NewMiddleware returns the middleware of an encoding. It acts on the sockets that
// negotiated the encoding's subprotocol: it finds id, path, data and meta of the
// message and sets what encodes and decodes. On a socket without a subprotocol it
// acts on the messages that are valid in its encoding and that no other middleware
// has taken. It passes everything else on, so that the middleware of several
// encodings can stand one after the other.
//
// In UseOpen and UseClose it lets the handlers after it send.
func NewMiddleware(codec *Codec) func(*Context) {
	own := codec.Encoding.Subprotocol()
	return func(c *Context) {
		chosen := c.Subprotocol()
		if chosen != "" && chosen != own {
			if _, known := envelope.FromSubprotocol(chosen); !known {
				c.Error = NewError(wire.CodeBadMessage, fmt.Sprintf("subprotocol %q is not supported", chosen))
				return
			}
			c.Next()
			return
		}
		err := c.decode(codec)
		switch {
		case err == nil:
		case errors.Is(err, envelope.ErrUTF8) && codec.Encoding == envelope.JSON && c.MessageType() == MessageText:
			c.CloseWithStatus(StatusInvalidFramePayloadData, "text is not UTF-8")
			return
		case chosen == own:
			c.Error = NewError(wire.CodeBadMessage, err.Error())
			return
		}
		c.Next()
	}
}

// decode takes the message apart.
func (c *Context) decode(codec *Codec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.f
	if f == nil {
		return ErrContextFreed
	}
	if f.kind != publicNode {
		f.codec, f.marshal, f.unmarshal = codec, nil, nil
		return nil
	}
	if f.codec != nil {
		return nil // another middleware has taken it
	}
	head, err := codec.Encoding.Peek(f.message.RawData)
	if err != nil {
		if f.run.socket.info.Subprotocol != "" && len(head.ID) > 0 {
			f.message.ID = string(head.ID)
		}
		return err
	}
	f.codec, f.marshal, f.unmarshal = codec, nil, nil
	if s := f.run.socket; s.codec.Load() != codec {
		s.codec.Store(codec)
	}
	if len(head.ID) > 0 {
		f.message.ID, f.message.hasSetID = string(head.ID), true
	}
	if len(head.Path) > 0 {
		f.setPath(string(head.Path))
	}
	if head.Data != nil {
		f.message.Data = head.Data
	}
	if head.Meta != nil {
		f.message.rawMeta, f.message.lazyMeta = head.Meta, codec.Meta
	}
	return nil
}

// subprotocolHeader reports the negotiated subprotocol, as handlers of Velaros
// services look for it.
const subprotocolHeader = "Sec-Websocket-Protocol"

func setSubprotocolHeader(h http.Header, subprotocol string) http.Header {
	if h == nil {
		h = http.Header{}
	}
	if subprotocol == "" {
		delete(h, subprotocolHeader)
	} else {
		h[subprotocolHeader] = []string{subprotocol}
	}
	return h
}
