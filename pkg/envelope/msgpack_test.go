package envelope_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"

	"github.com/boreas-ws/boreas/pkg/envelope"
)

var msgpackCases = []struct {
	name, msg string
	want      error
}{
	{"empty map", "\x80", nil},
	{"map 16", "\xde\x00\x01\xa2id\xa11", nil},
	{"map 32", "\xdf\x00\x00\x00\x01\xa2id\xa11", nil},
	{"long key", "\x81\xd9\x02id\xda\x00\x011", nil},
	{"str 32", "\x81\xa2id\xdb\x00\x00\x00\x011", nil},
	{"nil", "\x83\xa2id\xc0\xa4path\xc0\xa4meta\xc0", nil},
	{"numbers", "\x81\xa4data\x9b\x00\x7f\xe0\xcc\x01\xcd\x00\x01\xce\x00\x00\x00\x01\xcf\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\xd0\x01\xd1\x00\x01\xd2\x00\x00\x00\x01\xd3\x00\x00\x00\x00\x00\x00\x00\x01", nil},
	{"floats, bools", "\x81\xa4data\x94\xca\x00\x00\x00\x00\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xc2\xc3", nil},
	{"bin", "\x81\xa4data\x93\xc4\x01x\xc5\x00\x01x\xc6\x00\x00\x00\x01x", nil},
	{"ext", "\x81\xa4data\x93\xc7\x01\x05x\xc8\x00\x01\x05x\xc9\x00\x00\x00\x01\x05x", nil},
	{"fixext", "\x81\xa4data\x93\xd4\x05x\xd5\x05xx\xd6\x05xxxx", nil},
	{"long fixext", "\x81\xa4data\x92\xd7\x05xxxxxxxx\xd8\x05xxxxxxxxxxxxxxxx", nil},
	{"array 16, 32", "\x81\xa4data\xdc\x00\x01\xdd\x00\x00\x00\x01\xc0", nil},
	{"odd keys inside of data", "\x81\xa4data\x82\x01\x02\xa2ID\xa11", nil},
	{"deep", "\x81\xa4data" + strings.Repeat("\x91", envelope.MaxDepth-1) + "\xc0", nil},

	{"nothing", "", envelope.ErrMalformed},
	{"not a map", "\x91\xa2id", envelope.ErrMalformed},
	{"JSON", `{"id":"1"}`, envelope.ErrMalformed},
	{"nil alone", "\xc0", envelope.ErrMalformed},
	{"short map", "\x82\xa2id\xa11", envelope.ErrMalformed},
	{"short string", "\x81\xa2id\xa51", envelope.ErrMalformed},
	{"short length", "\x81\xa2id\xda\x00", envelope.ErrMalformed},
	{"endless array", "\x81\xa4data\xdd\xff\xff\xff\xff\xc0", envelope.ErrMalformed},
	{"type 0xc1", "\x81\xa4data\xc1", envelope.ErrMalformed},
	{"more", "\x80\x80", envelope.ErrMalformed},
	{"number as key", "\x81\x01\x02", envelope.ErrMalformed},
	{"id not UTF-8", "\x81\xa2id\xa1\xff", envelope.ErrMalformed},
	{"path twice", "\x82\xa4path\xa1a\xa4path\xa1a", envelope.ErrAmbiguous},
	{"upper case", "\x81\xa4Path\xa1a", envelope.ErrAmbiguous},
	{"id a number", "\x81\xa2id\x01", envelope.ErrType},
	{"path a bin", "\x81\xa4path\xc4\x01a", envelope.ErrType},
	{"meta an array", "\x81\xa4meta\x90", envelope.ErrType},
	{"too deep", "\x81\xa4data" + strings.Repeat("\x91", envelope.MaxDepth) + "\xc0", envelope.ErrLimit},
}

func TestPeekMsgPack(t *testing.T) {
	for _, c := range msgpackCases {
		if h, err := envelope.MsgPack.Peek([]byte(c.msg)); !errors.Is(err, c.want) {
			t.Errorf("%s: head %+v, error %v; want %v", c.name, h, err, c.want)
		}
	}
}

// referenceMsgPack does with vmihailenco/msgpack what Peek does.
func referenceMsgPack(msg []byte) (h envelope.Head, ok bool) {
	r := bytes.NewReader(msg)
	dec := msgpack.NewDecoder(r)
	code, err := dec.PeekCode()
	if err != nil || !msgpcode.IsFixedMap(code) && code != msgpcode.Map16 && code != msgpcode.Map32 {
		return h, false
	}
	n, err := dec.DecodeMapLen()
	if err != nil {
		return h, false
	}
	seen := map[string]bool{}
	for range n {
		if code, err = dec.PeekCode(); err != nil || !msgpcode.IsString(code) {
			return h, false
		}
		key, err := dec.DecodeString()
		if err != nil {
			return h, false
		}
		raw, err := dec.DecodeRaw()
		if err != nil {
			return h, false
		}
		name := strings.ToLower(key)
		if name != "id" && name != "path" && name != "data" && name != "meta" {
			continue
		}
		if key != name || seen[name] {
			return h, false
		}
		seen[name] = true
		isNil := raw[0] == msgpcode.Nil
		switch name {
		case "data":
			h.Data = raw
		case "meta":
			if isNil {
				continue
			}
			if c := raw[0]; !msgpcode.IsFixedMap(c) && c != msgpcode.Map16 && c != msgpcode.Map32 {
				return h, false
			}
			h.Meta = raw
		default:
			if isNil {
				continue
			}
			var text string
			if !msgpcode.IsString(raw[0]) || msgpack.Unmarshal(raw, &text) != nil || !utf8.ValidString(text) {
				return h, false
			}
			if name == "id" {
				h.ID = []byte(text)
			} else {
				h.Path = []byte(text)
			}
		}
	}
	return h, r.Len() == 0 && msgpackDepth(msgpack.NewDecoder(bytes.NewReader(msg))) <= envelope.MaxDepth &&
		len(h.ID) <= envelope.MaxIDLen && len(h.Path) <= envelope.MaxPathLen
}

// msgpackDepth returns how deep the next value of a valid message is nested.
func msgpackDepth(dec *msgpack.Decoder) int {
	code, _ := dec.PeekCode()
	var n int
	switch {
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
		n, _ = dec.DecodeMapLen()
		n *= 2
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		n, _ = dec.DecodeArrayLen()
	default:
		_ = dec.Skip()
		return 0
	}
	deepest := 0
	for range n {
		deepest = max(deepest, msgpackDepth(dec))
	}
	return deepest + 1
}

func FuzzPeekMsgPack(f *testing.F) {
	for _, c := range msgpackCases {
		f.Add([]byte(c.msg))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		got, err := envelope.MsgPack.Peek(msg)
		want, ok := referenceMsgPack(msg)
		if ok != (err == nil) {
			t.Fatalf("reference accepts: %v; Peek: %v", ok, err)
		}
		if ok {
			equalHeads(t, want, got)
		}
	})
}

func BenchmarkPeekMsgPack(b *testing.B) {
	data, err := msgpack.Marshal(map[string]any{"text": "the quick brown fox jumps over the lazy dog", "n": 12345})
	if err != nil {
		b.Fatal(err)
	}
	msg := envelope.MsgPack.AppendMessage(nil, envelope.Message{ID: "1234", Path: "/echo", Data: data})
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.MsgPack.Peek(msg); err != nil {
			b.Fatal(err)
		}
	}
}
