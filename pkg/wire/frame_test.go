package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// body is what every frame with a body has.
type body interface{ Append(b []byte) []byte }

// parse reads a body of a kind; nil for the kinds without one.
func parse(k Kind, b []byte) (body, error) {
	switch k {
	case KindOpen:
		return wrap(ParseOpen(b))
	case KindData:
		return wrap(ParseData(b))
	case KindCredit:
		return wrap(ParseCredit(b))
	case KindClose:
		return wrap(ParseClose(b))
	case KindRefuse:
		return wrap(ParseRefuse(b))
	case KindCommand:
		return wrap(ParseCommand(b))
	case KindPush:
		return wrap(ParsePush(b))
	case KindPushResult:
		return wrap(ParsePushResult(b))
	case KindRequest:
		return wrap(ParseRequest(b))
	case KindResponse:
		return wrap(ParseResponse(b))
	case KindWatch:
		return wrap(ParseWatch(b))
	case KindPresence:
		return wrap(ParsePresence(b))
	case KindIdentity:
		return wrap(ParseIdentity(b))
	}
	return nil, nil
}

func wrap[T body](v T, err error) (body, error) { return v, err }

// examples has a typical frame of each kind, and its bytes. The bytes are what
// nodes of different versions agree on.
var examples = []struct {
	name   string
	header Header
	body   body
	hex    string
}{
	{"open", Header{Kind: KindOpen, Stream: 1}, Open{
		Service: "chat", Socket: "s1", Gateway: "public", RemoteAddr: "10.0.0.1:5000", Path: "/ws", Query: "a=b",
		Subprotocol: "velaros-json", Encoding: 1, Credit: 262144, Identity: []byte("{}"),
		Headers: []HeaderField{{"Origin", "https://x"}, {"X-A", ""}},
	}, "0101" + "0463686174" + "027331" + "067075626c6963" + "0d31302e302e302e313a35303030" + "032f7773" + "03613d62" +
		"0c76656c61726f732d6a736f6e" + "01" + "808010" + "027b7d" + "02" + "064f726967696e" + "0968747470733a2f2f78" + "03582d41" + "00"},
	{"open, empty", Header{Kind: KindOpen, Stream: 2}, Open{}, "0102" + "00000000000000" + "00" + "00" + "00" + "00"},
	{"data", Header{Kind: KindData, Stream: 300}, Data{Type: Text, Payload: []byte(`{"path":"/a"}`)},
		"02ac02" + "01" + "00" + "7b2270617468223a222f61227d"},
	{"data, awaited", Header{Kind: KindData, FromAcceptor: true, Stream: 1}, Data{Type: Binary, ID: "7", Payload: []byte{0}},
		"8201" + "02" + "0137" + "00"},
	{"credit", Header{Kind: KindCredit, Stream: 1}, Credit{Bytes: 131072}, "0301" + "808008"},
	{"close", Header{Kind: KindClose, Stream: 1}, Close{Status: CloseRestart, Reason: "drain", Source: SourceServer, Finish: true},
		"0401" + "f407" + "05647261696e" + "01" + "01"},
	{"closed", Header{Kind: KindClosed, FromAcceptor: true, Stream: 1}, nil, "8501"},
	{"release", Header{Kind: KindRelease, FromAcceptor: true, Stream: 1}, nil, "8601"},
	{"command", Header{Kind: KindCommand, FromAcceptor: true, Stream: 1}, Command{Number: 2, Op: OpJoin, Name: "room"},
		"8901" + "02" + "01" + "04726f6f6d"},
	{"command to watch", Header{Kind: KindCommand, FromAcceptor: true, Stream: 1}, Command{Number: 2, Op: OpWatch, Name: "r", Path: "/p"},
		"8901" + "02" + "04" + "0172" + "022f70"},
	{"push", Header{Kind: KindPush, Stream: 1}, Push{
		Target: Target{TargetGroup, "room"}, Except: []SocketID{"s1"}, ExceptUsers: []string{"bob"}, Policy: PolicyLatest,
		Key: "k", Path: "/a", TimeoutMS: 5000, Data: []PushData{{Encoding: 0, Bytes: []byte("1")}},
	}, "0a01" + "03" + "04726f6f6d" + "01" + "027331" + "01" + "03626f62" + "02" + "016b" + "022f61" + "8827" + "01" + "00" + "0131"},
	{"push result", Header{Kind: KindPushResult, FromAcceptor: true, Stream: 1}, PushResult{
		Targeted: 3, Delivered: 1, Queued: 1, Dropped: []PushDrop{{DropSlow, 1}},
	}, "8b01" + "03" + "01" + "01" + "01" + "04736c6f77" + "01"},
	{"request", Header{Kind: KindRequest, Stream: 1}, Request{Op: "show", Body: []byte("x")}, "0c01" + "0473686f77" + "78"},
	{"response", Header{Kind: KindResponse, FromAcceptor: true, Stream: 1}, Response{Error: "no", Body: []byte("x")}, "8d01" + "026e6f" + "78"},
	{"watch", Header{Kind: KindWatch, Stream: 1}, Watch{Group: "r", On: true}, "0e01" + "01" + "0172"},
	{"watch no more", Header{Kind: KindWatch, Stream: 1}, Watch{Group: "r"}, "0e01" + "00" + "0172"},
	{"presence", Header{Kind: KindPresence, Stream: 1}, Presence{
		Group: "r", First: true, Last: true, Joined: []Present{{Socket: "s", User: "u", SinceMS: 300}}, Left: []SocketID{"t"},
	}, "0f01" + "0172" + "03" + "01" + "0173" + "0175" + "ac02" + "01" + "0174"},
	{"no presence", Header{Kind: KindPresence, Stream: 1}, Presence{Group: "r"}, "0f01" + "0172" + "00" + "00" + "00"},
	{"refuse", Header{Kind: KindRefuse, FromAcceptor: true, Stream: 1}, Refuse{Code: CodeUnavailable, Reason: "gone"},
		"8701" + "0b756e617661696c61626c65" + "04676f6e65"},
	{"identity", Header{Kind: KindIdentity, Stream: 1}, Identity{
		User: "alice", Method: "jwt", Claims: []byte(`{"a":1}`), Expires: time.UnixMilli(1_700_000_000_000).UTC(),
	}, "0801" + "05616c696365" + "036a7774" + "077b2261223a317d" + "80d095ffbc31"},
	{"identity, anonymous", Header{Kind: KindIdentity, Stream: 1}, Identity{}, "0801"},
}

func TestGoldenFrames(t *testing.T) {
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			b := e.header.Append(nil)
			if e.body != nil {
				b = e.body.Append(b)
			}
			if got := hex.EncodeToString(b); got != e.hex {
				t.Fatalf("bytes %s\nwant  %s", got, e.hex)
			}
			h, rest, err := ParseHeader(b)
			if err != nil || h != e.header {
				t.Fatalf("header %+v, %v; want %+v", h, err, e.header)
			}
			got, err := parse(h.Kind, rest)
			if err != nil {
				t.Fatal(err)
			}
			if e.body != nil {
				if d := cmp.Diff(normal(e.body), normal(got)); d != "" {
					t.Fatal(d)
				}
			}
		})
	}
}

// normal makes nil and empty slices equal.
func normal(b body) body {
	switch v := b.(type) {
	case Open:
		if len(v.Identity) == 0 {
			v.Identity = nil
		}
		return v
	case Identity:
		if len(v.Claims) == 0 {
			v.Claims = nil
		}
		return v
	case Data:
		if len(v.Payload) == 0 {
			v.Payload = nil
		}
		return v
	}
	return b
}

// TestFramesRoundTrip: parsing what Append wrote behind anything gives the frame
// again, and with a byte more or less an error.
func TestFramesRoundTrip(t *testing.T) {
	text := rapid.StringN(0, 50, 200)
	some := rapid.SliceOfN(rapid.Byte(), 0, 300)
	frames := map[Kind]func(*rapid.T) body{
		KindOpen: func(t *rapid.T) body {
			return Open{
				Service: text.Draw(t, "service"), Socket: SocketID(text.Draw(t, "socket")), Gateway: text.Draw(t, "gateway"),
				RemoteAddr: text.Draw(t, "address"), Path: text.Draw(t, "path"), Query: text.Draw(t, "query"),
				Subprotocol: text.Draw(t, "subprotocol"), Encoding: rapid.Byte().Draw(t, "encoding"),
				Credit: rapid.Uint32().Draw(t, "credit"), Identity: some.Draw(t, "identity"),
				Headers: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) HeaderField {
					return HeaderField{text.Draw(t, "name"), text.Draw(t, "value")}
				}), 0, 5).Draw(t, "headers"),
			}
		},
		KindData: func(t *rapid.T) body {
			return Data{Type: rapid.SampledFrom([]MessageType{Text, Binary}).Draw(t, "type"), ID: text.Draw(t, "id"), Payload: some.Draw(t, "payload")}
		},
		KindCredit: func(t *rapid.T) body { return Credit{Bytes: rapid.Uint32().Draw(t, "bytes")} },
		KindClose: func(t *rapid.T) body {
			return Close{
				Status: CloseCode(rapid.Uint16Max(4999).Draw(t, "status")), Reason: text.Draw(t, "reason"),
				Source: CloseSource(rapid.ByteMax(2).Draw(t, "source")), Finish: rapid.Bool().Draw(t, "finish"),
			}
		},
		KindRefuse: func(t *rapid.T) body {
			return Refuse{Code: ErrorCode(text.Draw(t, "code")), Reason: text.Draw(t, "reason")}
		},
		KindIdentity: func(t *rapid.T) body {
			i := Identity{User: "u" + text.Draw(t, "user"), Method: text.Draw(t, "method"), Claims: some.Draw(t, "claims")}
			if ms := rapid.Int64Range(0, 1<<52).Draw(t, "expires"); ms > 0 {
				i.Expires = time.UnixMilli(ms).UTC()
			}
			return i
		},
	}
	for kind, draw := range frames {
		rapid.Check(t, func(t *rapid.T) {
			want := draw(t)
			if o, ok := want.(Open); ok && len(o.Headers) == 0 {
				o.Headers = nil
				want = o
			}
			h := Header{Kind: kind, FromAcceptor: rapid.Bool().Draw(t, "from acceptor"), Stream: StreamID(rapid.Uint64().Draw(t, "stream"))}
			b := want.Append(h.Append([]byte("before")))[len("before"):]
			gotHeader, rest, err := ParseHeader(b)
			if err != nil || gotHeader != h {
				t.Fatalf("header %+v, %v; want %+v", gotHeader, err, h)
			}
			got, err := parse(kind, rest)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(normal(want), normal(got)); d != "" {
				t.Fatal(d)
			}
			if kind == KindData {
				return // its payload ends where the frame ends
			}
			if _, err := parse(kind, append(rest[:len(rest):len(rest)], 0)); !errors.Is(err, ErrFrame) {
				t.Fatalf("with a trailing byte: %v", err)
			}
			if _, err := parse(kind, rest[:len(rest)-1]); !errors.Is(err, ErrFrame) {
				t.Fatalf("without its last byte: %v", err)
			}
		})
	}
}

func TestDataHeadAndPayloadAreSeparable(t *testing.T) {
	d := Data{Type: Text, ID: "id", Payload: []byte("payload")}
	if got := append(d.AppendHead(nil), d.Payload...); !bytes.Equal(got, d.Append(nil)) {
		t.Errorf("%x differs from %x", got, d.Append(nil))
	}
	if got := d.Cost(); got != len("payload")+DataOverhead {
		t.Errorf("Cost is %d", got)
	}
}

// TestHeadFits: the head of a Data frame without an id fits a MaxHead buffer.
func TestHeadFits(t *testing.T) {
	b := Header{Kind: KindData, FromAcceptor: true, Stream: 1<<64 - 1}.Append(nil)
	if b = (Data{Type: Binary}).AppendHead(b); len(b) > MaxHead {
		t.Errorf("%d bytes; MaxHead is %d", len(b), MaxHead)
	}
}

func TestParsersRefuse(t *testing.T) {
	long := strings.Repeat("\xff", 10) + "\x01"
	for name, c := range map[string]struct {
		kind Kind
		in   string
	}{
		"data of no type":              {KindData, "\x00\x00"},
		"data of another type":         {KindData, "\x09\x00"},
		"data without id":              {KindData, "\x01"},
		"data with a short id":         {KindData, "\x01\x05ab"},
		"credit over 32 bits":          {KindCredit, "\x80\x80\x80\x80\x10"},
		"credit over 64 bits":          {KindCredit, long},
		"no credit":                    {KindCredit, ""},
		"close status over 4999":       {KindClose, "\x88\x27\x00\x00\x00"},
		"close of unknown source":      {KindClose, "\xe8\x07\x00\x03\x00"},
		"close with odd finish":        {KindClose, "\xe8\x07\x00\x00\x02"},
		"refuse without reason":        {KindRefuse, "\x01a"},
		"open with too many headers":   {KindOpen, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x0f"},
		"open with half a header":      {KindOpen, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01a"},
		"watch of neither":             {KindWatch, "\x02\x01r"},
		"presence of unknown bits":     {KindPresence, "\x01r\x04\x00\x00"},
		"presence past the end":        {KindPresence, "\x01r\x00\x05\x00"},
		"identity without expiry":      {KindIdentity, "\x01a\x00\x00"},
		"identity over 63 bits":        {KindIdentity, "\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
		"open with credit over 32 bit": {KindOpen, "\x00\x00\x00\x00\x00\x00\x00\x00\x80\x80\x80\x80\x10\x00\x00"},
	} {
		if _, err := parse(c.kind, []byte(c.in)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, in := range map[string]string{
		"empty": "", "kind 0": "\x00\x01", "unknown kind": "\x7f\x01", "no stream": "\x01", "bad stream": "\x01" + long,
	} {
		if _, _, err := ParseHeader([]byte(in)); !errors.Is(err, ErrFrame) {
			t.Errorf("header, %s: %v", name, err)
		}
	}
}

// FuzzFrame: no input panics a parser or makes it allocate far beyond the input,
// and what is accepted survives being written and read again.
func FuzzFrame(f *testing.F) {
	for _, e := range examples {
		b, err := hex.DecodeString(e.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, rest, err := ParseHeader(data)
		if err != nil {
			return
		}
		first, err := parse(h.Kind, rest)
		if err != nil || first == nil {
			return
		}
		if o, ok := first.(Open); ok && cap(o.Headers) > len(data) {
			t.Fatalf("room for %d headers was made for %d bytes", cap(o.Headers), len(data))
		}
		again, err := parse(h.Kind, first.Append(nil))
		if err != nil {
			t.Fatalf("written again it is refused: %v", err)
		}
		if d := cmp.Diff(normal(first), normal(again)); d != "" {
			t.Fatal(d)
		}
	})
}
