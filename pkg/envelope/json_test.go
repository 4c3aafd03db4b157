package envelope_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/boreas-ws/boreas/pkg/envelope"
)

func nested(depth int) string {
	return `{"data":` + strings.Repeat(`[`, depth-1) + strings.Repeat(`]`, depth-1) + `}`
}

var jsonAccepted = []struct{ msg, path, id, data, meta string }{
	{msg: `{}`},
	{msg: " \t\r\n{ } \n"},
	{msg: `{"path":"/a","id":"1","data":{"x":[1,2,{"y":null}]},"meta":{"m":true}}`,
		path: "/a", id: "1", data: `{"x":[1,2,{"y":null}]}`, meta: `{"m":true}`},
	{msg: `{ "meta" : { } , "data" : "d" , "id" : "1" , "path" : "/a" }`, path: "/a", id: "1", data: `"d"`, meta: `{ }`},
	{msg: `{"data":{"path":"/inner","id":"2","Path":1},"path":"/outer"}`, path: "/outer", data: `{"path":"/inner","id":"2","Path":1}`},
	{msg: `{"p\u0061th":"\/\u00e4\ud83d\ude00\n","\u0069d":"\"\\\b\f\r\t"}`, path: "/ä😀\n", id: "\"\\\b\f\r\t"},
	{msg: `{"path":"\ud800x\udc00"}`, path: "\ufffdx\ufffd"},
	{msg: `{"path":null,"id":null,"meta":null,"data":null}`, data: `null`},
	{msg: `{"path":"","id":""}`},
	{msg: `{"paths":1,"ids":2,"":3,"PATHS":4,"dat":5,"ABCD":6}`},
	{msg: `{"data":-0.5e+10}`, data: `-0.5e+10`},
	{msg: `{"data":[0,-1,10,1.25,1E9,1e-9,true,false,null,"",[],{}]}`, data: `[0,-1,10,1.25,1E9,1e-9,true,false,null,"",[],{}]`},
	{msg: `{"data":"häß ✓ 😀 and a long tail of plain text"}`, data: `"häß ✓ 😀 and a long tail of plain text"`},
	{msg: nested(envelope.MaxDepth), data: strings.Repeat(`[`, envelope.MaxDepth-1) + strings.Repeat(`]`, envelope.MaxDepth-1)},
}

var jsonRefused = []struct {
	msg  string
	want error
}{
	{``, envelope.ErrMalformed},
	{`   `, envelope.ErrMalformed},
	{`[]`, envelope.ErrMalformed},
	{`"path"`, envelope.ErrMalformed},
	{`null`, envelope.ErrMalformed},
	{`{`, envelope.ErrMalformed},
	{`{"a"`, envelope.ErrMalformed},
	{`{"a":`, envelope.ErrMalformed},
	{`{"a":1`, envelope.ErrMalformed},
	{`{"a":1,`, envelope.ErrMalformed},
	{`{"a":1,}`, envelope.ErrMalformed},
	{`{,"a":1}`, envelope.ErrMalformed},
	{`{"a" 1}`, envelope.ErrMalformed},
	{`{a:1}`, envelope.ErrMalformed},
	{`{'a':1}`, envelope.ErrMalformed},
	{`{"a":1]`, envelope.ErrMalformed},
	{`{"a":[1}`, envelope.ErrMalformed},
	{`{"a":[1,]}`, envelope.ErrMalformed},
	{`{"a":[1 2]}`, envelope.ErrMalformed},
	{`{"a":01}`, envelope.ErrMalformed},
	{`{"a":-}`, envelope.ErrMalformed},
	{`{"a":1.}`, envelope.ErrMalformed},
	{`{"a":.5}`, envelope.ErrMalformed},
	{`{"a":1e}`, envelope.ErrMalformed},
	{`{"a":+1}`, envelope.ErrMalformed},
	{`{"a":tru}`, envelope.ErrMalformed},
	{`{"a":nul`, envelope.ErrMalformed},
	{`{"a":NaN}`, envelope.ErrMalformed},
	{`{"a":"x}`, envelope.ErrMalformed},
	{`{"a":"\x"}`, envelope.ErrMalformed},
	{`{"a":"\u12g4"}`, envelope.ErrMalformed},
	{`{"a":"\`, envelope.ErrMalformed},
	{`{"a":"\u12`, envelope.ErrMalformed},
	{"{\"a\":\"a line\nbreak\"}", envelope.ErrMalformed},
	{"{\"a\":\"\x00\"}", envelope.ErrMalformed},
	{"{}\x00", envelope.ErrMalformed},
	{"\ufeff{}", envelope.ErrMalformed},
	{`{} {}`, envelope.ErrMalformed},
	{"{\"a\":\"\xff\"}", envelope.ErrUTF8},
	{"{\"a\":\"\xed\xa0\x80\"}", envelope.ErrUTF8},
	{"{\"a\xc3\":1}", envelope.ErrUTF8},
	{"{oops \xff}", envelope.ErrUTF8},
	{`{"path":"/a","path":"/a"}`, envelope.ErrAmbiguous},
	{`{"id":"1","id":"2"}`, envelope.ErrAmbiguous},
	{`{"data":1,"data":2}`, envelope.ErrAmbiguous},
	{`{"meta":{},"meta":null}`, envelope.ErrAmbiguous},
	{`{"path":"/a","Path":"/b"}`, envelope.ErrAmbiguous},
	{`{"pAtH":"/b"}`, envelope.ErrAmbiguous},
	{`{"ID":"1"}`, envelope.ErrAmbiguous},
	{`{"path":"/a","p\u0061th":"/b"}`, envelope.ErrAmbiguous},
	{`{"\u0050ath":"/b"}`, envelope.ErrAmbiguous},
	{`{"id":1}`, envelope.ErrType},
	{`{"id":{"id":"1"}}`, envelope.ErrType},
	{`{"path":["/a"]}`, envelope.ErrType},
	{`{"path":false}`, envelope.ErrType},
	{`{"meta":"m"}`, envelope.ErrType},
	{`{"meta":[]}`, envelope.ErrType},
	{nested(envelope.MaxDepth + 1), envelope.ErrLimit},
	{`{"data":` + strings.Repeat(`{"a":`, envelope.MaxDepth) + `1` + strings.Repeat(`}`, envelope.MaxDepth) + `}`, envelope.ErrLimit},
}

func TestPeekJSON(t *testing.T) {
	for _, c := range jsonAccepted {
		h, err := envelope.JSON.Peek([]byte(c.msg))
		if err != nil {
			t.Errorf("%.80s: %v", c.msg, err)
			continue
		}
		if string(h.Path) != c.path || string(h.ID) != c.id || string(h.Data) != c.data || string(h.Meta) != c.meta {
			t.Errorf("%.80s: path %q, id %q, data %q, meta %q", c.msg, h.Path, h.ID, h.Data, h.Meta)
		}
	}
	for _, c := range jsonRefused {
		h, err := envelope.JSON.Peek([]byte(c.msg))
		if !errors.Is(err, c.want) {
			t.Errorf("%.80q: head %+v, error %v; want %v", c.msg, h, err, c.want)
		}
	}
}

func TestPeekJSONDoesNotAllocate(t *testing.T) {
	msg := []byte(benchmarkJSON)
	if n := testing.AllocsPerRun(100, func() { _, _ = envelope.JSON.Peek(msg) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// referenceJSON does with encoding/json what Peek does. ok is false where the
// documented differences, and only they, make Peek refuse.
func referenceJSON(msg []byte) (h envelope.Head, ok bool) {
	if !json.Valid(msg) || !utf8.Valid(msg) || jsonDepth(msg) > envelope.MaxDepth {
		return h, false
	}
	dec := json.NewDecoder(bytes.NewReader(msg))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return h, false
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		key, isString := token.(string)
		var raw json.RawMessage
		if err != nil || !isString || dec.Decode(&raw) != nil {
			return h, false
		}
		name := strings.ToLower(key)
		switch name {
		case "id", "path", "data", "meta":
			if key != name || seen[name] {
				return h, false
			}
			seen[name] = true
		}
		var text string
		var object map[string]json.RawMessage
		switch name {
		case "id":
			if json.Unmarshal(raw, &text) != nil || len(text) > envelope.MaxIDLen {
				return h, false
			}
			h.ID = []byte(text)
		case "path":
			if json.Unmarshal(raw, &text) != nil || len(text) > envelope.MaxPathLen {
				return h, false
			}
			h.Path = []byte(text)
		case "data":
			h.Data = raw
		case "meta":
			if json.Unmarshal(raw, &object) != nil {
				return h, false
			}
			if object != nil {
				h.Meta = raw
			}
		}
	}
	return h, true
}

func jsonDepth(msg []byte) int {
	depth, deepest := 0, 0
	for dec := json.NewDecoder(bytes.NewReader(msg)); ; {
		token, err := dec.Token()
		if err != nil { // the end
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

func FuzzPeekJSON(f *testing.F) {
	for _, c := range jsonAccepted {
		f.Add([]byte(c.msg))
	}
	for _, c := range jsonRefused {
		f.Add([]byte(c.msg))
	}
	f.Add([]byte(benchmarkJSON))
	f.Fuzz(func(t *testing.T, msg []byte) {
		before := bytes.Clone(msg)
		got, err := envelope.JSON.Peek(msg)
		if !bytes.Equal(before, msg) {
			t.Fatal("Peek changed the message")
		}
		want, ok := referenceJSON(msg)
		if ok != (err == nil) {
			t.Fatalf("reference accepts: %v; Peek: %v", ok, err)
		}
		if errors.Is(err, envelope.ErrUTF8) != !utf8.Valid(msg) {
			t.Fatalf("UTF-8: %v; Peek: %v", utf8.Valid(msg), err)
		}
		if ok {
			equalHeads(t, want, got)
		}
	})
}

func equalHeads(t *testing.T, want, got envelope.Head) {
	t.Helper()
	if !bytes.Equal(want.ID, got.ID) || !bytes.Equal(want.Path, got.Path) ||
		!bytes.Equal(want.Data, got.Data) || !bytes.Equal(want.Meta, got.Meta) {
		t.Fatalf("want %+q\n got %+q", want, got)
	}
}

// benchmarkJSON is what the load test sends: 128 bytes.
const benchmarkJSON = `{"path":"/echo","id":"1234","data":{"text":"the quick brown fox jumps over the lazy dog and runs","n":123,"ok":true,"tags":[1]}}`

func TestBenchmarkMessage(t *testing.T) {
	if len(benchmarkJSON) != 128 {
		t.Errorf("%d bytes", len(benchmarkJSON))
	}
}

func BenchmarkPeekJSON(b *testing.B) {
	msg := []byte(benchmarkJSON)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.JSON.Peek(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	m := envelope.Message{ID: "1234", Data: []byte(`{"text":"the quick brown fox jumps over the lazy dog and runs"}`)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = envelope.JSON.AppendMessage(buf[:0], m)
	}
}
