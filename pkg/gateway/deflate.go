package gateway

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/push"
)

// The extension permessage-deflate (RFC 7692). Each message is compressed for
// itself, both ways: what would be kept from one message for the next costs more
// memory per socket than all the rest.
const (
	extensionHeader = "Sec-Websocket-Extensions"
	deflateName     = "permessage-deflate"

	// compressFrom is the length, in bytes, from which on messages are worth it.
	compressFrom = 512
	// compressLevel is the fastest; the others gain little on short messages.
	compressLevel = flate.BestSpeed
	// maxExtensions is how many extensions of an offer are looked at.
	maxExtensions = 16
)

const (
	// syncMark ends what a compressor has flushed. It is not transmitted.
	syncMark = "\x00\x00\xff\xff"
	// inflateTail is put behind a message: that mark, and an empty last block, so
	// that a decompressor finds an end.
	inflateTail = syncMark + "\x01" + syncMark
)

var (
	errInflate    = protocolError("a compressed message is malformed")
	errInflateBig = errors.New("a compressed message is too big")
)

// offersDeflate reports whether the client offers permessage-deflate such that the
// gateway's answer, which is no context takeover by either side, accepts it. An
// offer with server_max_window_bits demands more.
func offersDeflate(h http.Header) bool {
	looked := 0
	for _, line := range h[extensionHeader] {
		for offer := range strings.SplitSeq(line, ",") {
			if looked++; looked > maxExtensions {
				return false
			}
			if acceptsDeflate(offer) {
				return true
			}
		}
	}
	return false
}

func acceptsDeflate(offer string) bool {
	name, params, _ := strings.Cut(offer, ";")
	if strings.TrimSpace(name) != deflateName {
		return false
	}
	seen := map[string]bool{}
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		key, value, hasValue := strings.Cut(strings.TrimSpace(param), "=")
		if seen[key] {
			return false
		}
		seen[key] = true
		switch key {
		case "server_no_context_takeover", "client_no_context_takeover":
			if hasValue {
				return false
			}
		case "client_max_window_bits": // whatever it uses is fine
			if hasValue && !windowBits(strings.Trim(value, `"`)) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// windowBits reports whether s is 8 to 15.
func windowBits(s string) bool {
	return s == "8" || s == "9" || len(s) == 2 && s[0] == '1' && s[1] >= '0' && s[1] <= '5'
}

// inflater decompresses messages, one at a time.
type inflater struct {
	in  bytes.Reader
	out io.ReadCloser // a flate.Resetter
}

var inflaters = sync.Pool{New: func() any {
	i := &inflater{}
	i.out = flate.NewReader(&i.in)
	return i
}}

// inflate appends the message that is compressed in b to msg, which has to be empty.
// It never takes more than limit bytes of memory for it.
func inflate(msg, b []byte, limit int) ([]byte, error) {
	i := inflaters.Get().(*inflater)
	defer inflaters.Put(i)
	i.in.Reset(append(b, inflateTail...))
	defer i.in.Reset(nil)
	if err := i.out.(flate.Resetter).Reset(&i.in, nil); err != nil {
		return msg, err
	}
	for {
		if len(msg) == cap(msg) { // doubles as bytes come
			msg = append(msg, 0)[:len(msg)]
		}
		n, err := i.out.Read(msg[len(msg):min(cap(msg), limit+1)])
		msg = msg[:len(msg)+n]
		switch {
		case len(msg) > limit:
			return msg, errInflateBig
		case errors.Is(err, io.EOF):
			// A client may end a message with a last block of its own, and a zero.
			if i.in.Len() > 1+len(inflateTail) {
				return msg, errInflate
			}
			return msg, nil
		case err != nil:
			return msg, errInflate
		}
	}
}

// compressedLimit is the most bytes that a compressed message may have: some
// compressors make a message longer that cannot be compressed.
func compressedLimit(limit int) int { return limit + limit>>6 + 64 }

// inflated decompresses a message of the client and sends it on. Its results are
// those of frame.
func (c *conn) inflated(b []byte) (ending, error) {
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	msg, err := inflate((*buf)[:0], b, c.g.cfg.MaxMessageBytes)
	*buf = msg
	switch {
	case errors.Is(err, errInflateBig):
		return causeTooBig.ending(), nil
	case err != nil:
		return ending{}, err
	}
	return c.dispatch(msg), nil
}

// deflater compresses messages, one at a time.
type deflater struct {
	out bytes.Buffer
	w   *flate.Writer
}

var deflaters = sync.Pool{New: func() any {
	d := &deflater{}
	d.w, _ = flate.NewWriter(&d.out, compressLevel) // fails only for an unknown level
	return d
}}

func (d *deflater) free() {
	if d.out.Cap() <= keepOutbox {
		deflaters.Put(d)
	}
}

// deflate compresses a message. The result is valid until the next call; it is nil
// if it would not be shorter.
func (d *deflater) deflate(msg []byte) []byte {
	d.out.Reset()
	d.w.Reset(&d.out)
	_, _ = d.w.Write(msg) // a bytes.Buffer takes everything
	_ = d.w.Flush()
	if short := bytes.TrimSuffix(d.out.Bytes(), []byte(syncMark)); len(short) < len(msg) {
		return short
	}
	return nil
}

// sharedFrame is a frame of an outbox that other connections send as well, so that it
// is compressed once for all.
type sharedFrame struct {
	at int // where it begins
	d  *push.Delivery
}

// compressed returns an outbox with the same frames, of which messages that are
// worth it are compressed, and frees o, which holds nothing but whole frames.
func (o *outbox) compressed(e envelope.Encoding) *outbox {
	z := outboxes.Get().(*outbox)
	z.messages, z.timed = o.messages, o.timed
	shared := o.shared
	for at := 0; at < len(o.b); {
		size := frameEnd(o.b[at:], 1)
		frame := o.b[at : at+size]
		payload := frame[headerLength(frame):]
		switch op := frame[0]; {
		case op&controlBit != 0 || len(payload) < compressFrom:
			z.b = append(z.b, frame...)
		case len(shared) > 0 && shared[0].at == at:
			z.add(frame, shared[0].d.Once(e, func() []byte {
				d := deflaters.Get().(*deflater)
				defer d.free()
				return bytes.Clone(d.deflate(payload))
			}))
			shared = shared[1:]
		default:
			d := deflaters.Get().(*deflater)
			z.add(frame, d.deflate(payload))
			d.free()
		}
		at += size
	}
	o.free()
	return z
}

// add appends a frame, with its compressed payload if it has one.
func (o *outbox) add(frame, short []byte) {
	if len(short) == 0 {
		o.b = append(o.b, frame...)
		return
	}
	o.b = append(appendHeader(o.b, frame[0]|rsv1, len(short)), short...)
}

// worthCompressing reports whether an outbox has a message that is long enough.
// One without messages of services may begin with the rest of a frame.
func (o *outbox) worthCompressing() bool { return o.messages > 0 && len(o.b) >= compressFrom }

// headerLength is the length of the header of a frame made by appendHeader.
func headerLength(frame []byte) int {
	switch frame[1] {
	case 126:
		return 4
	case 127:
		return 10
	default:
		return 2
	}
}
