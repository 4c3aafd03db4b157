package envelope_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

var all = []envelope.Encoding{envelope.JSON, envelope.MsgPack, envelope.Protobuf}

func TestSubprotocols(t *testing.T) {
	for _, e := range all {
		got, ok := envelope.FromSubprotocol(e.Subprotocol())
		if !ok || got != e {
			t.Errorf("FromSubprotocol(%q) = %v, %v", e.Subprotocol(), got, ok)
		}
	}
	want := []string{"velaros-json", "velaros-msgpack", "velaros-protobuf"}
	if diff := cmp.Diff(want, envelope.Subprotocols()); diff != "" {
		t.Error(diff)
	}
	if e, ok := envelope.FromSubprotocol(""); !ok || e != envelope.JSON {
		t.Error("a client without a subprotocol must speak JSON")
	}
	if _, ok := envelope.FromSubprotocol("velaros-xml"); ok {
		t.Error("an unknown subprotocol was accepted")
	}
	if envelope.JSON.MessageType() != wire.Text || envelope.MsgPack.MessageType() != wire.Binary ||
		envelope.Protobuf.MessageType() != wire.Binary {
		t.Error("only JSON is text")
	}
	if e := envelope.Encoding(9); e.Valid() || e.String() != "unknown" {
		t.Error("encoding 9 must not be valid")
	}
}

// value encodes v the way Data and Meta hold it.
func value(t *testing.T, e envelope.Encoding, v map[string]string) []byte {
	t.Helper()
	var b []byte
	var err error
	switch e {
	case envelope.JSON:
		b, err = json.Marshal(v)
	case envelope.MsgPack:
		b, err = msgpack.Marshal(v)
	case envelope.Protobuf:
		m := dynamicpb.NewMessage(envelopeDescriptor)
		entries := m.Mutable(envelopeDescriptor.Fields().ByName("meta")).Map()
		for k, s := range v {
			entries.Set(mapKey(k), bytesValue(s))
		}
		b, err = proto.Marshal(m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessageRoundTrip(t *testing.T) {
	for _, e := range all {
		data := value(t, e, map[string]string{"room": "général", "quote": `"\`})
		meta := value(t, e, map[string]string{"trace": "1", "tenant": "a"})
		for _, m := range []envelope.Message{
			{},
			{ID: "1"},
			{Path: "/a"},
			{ID: "1", Data: data},
			{Path: "/a", Data: data, Meta: meta},
			{ID: "a \"quoted\" \\ \x01 id ✓", Path: "/users/ü/" + strings.Repeat("x", 300), Data: data, Meta: meta},
		} {
			b := e.AppendMessage([]byte("head"), m)
			b, ok := bytes.CutPrefix(b, []byte("head"))
			if !ok {
				t.Fatalf("%v: AppendMessage does not append", e)
			}
			h, err := e.Peek(b)
			if err != nil {
				t.Errorf("%v: Peek(%q): %v", e, b, err)
				continue
			}
			got := envelope.Message{ID: string(h.ID), Path: string(h.Path), Data: h.Data, Meta: h.Meta}
			if diff := cmp.Diff(m, got); diff != "" {
				t.Errorf("%v: %s", e, diff)
			}
		}
	}
}

func TestPeekHasNoRoomForAppend(t *testing.T) {
	for _, e := range all {
		data, meta := value(t, e, map[string]string{"a": "b"}), value(t, e, map[string]string{"c": "d"})
		b := e.AppendMessage(nil, envelope.Message{ID: "1", Path: "/a", Data: data, Meta: meta})
		h, err := e.Peek(b)
		if err != nil {
			t.Fatal(err)
		}
		for name, part := range map[string][]byte{"id": h.ID, "path": h.Path, "data": h.Data, "meta": h.Meta} {
			if len(part) != cap(part) {
				t.Errorf("%v: appending to %s overwrites the message", e, name)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	for _, e := range all {
		for _, c := range []struct {
			m    envelope.Message
			want error
		}{
			{envelope.Message{ID: strings.Repeat("i", envelope.MaxIDLen)}, nil},
			{envelope.Message{ID: strings.Repeat("i", envelope.MaxIDLen+1)}, envelope.ErrLimit},
			{envelope.Message{Path: strings.Repeat("p", envelope.MaxPathLen)}, nil},
			{envelope.Message{Path: strings.Repeat("p", envelope.MaxPathLen+1)}, envelope.ErrLimit},
		} {
			if _, err := e.Peek(e.AppendMessage(nil, c.m)); !errors.Is(err, c.want) {
				t.Errorf("%v: id of %d, path of %d bytes: %v", e, len(c.m.ID), len(c.m.Path), err)
			}
		}
	}
}

func TestErrorKeepsTheIDReadBeforeIt(t *testing.T) {
	for _, e := range all {
		m := envelope.Message{ID: "7", Path: strings.Repeat("p", envelope.MaxPathLen+1)}
		h, err := e.Peek(e.AppendMessage(nil, m))
		if err == nil || string(h.ID) != "7" || h.Path != nil {
			t.Errorf("%v: head %+v, error %v", e, h, err)
		}
	}
}

func TestAppendError(t *testing.T) {
	fields := []envelope.FieldError{{Field: "name", Error: "is \"empty\""}, {Field: "age", Error: "is negative"}}
	type body struct {
		Error      string              `json:"error" msgpack:"error"`
		Code       string              `json:"code" msgpack:"code"`
		RetryAfter float64             `json:"retry_after" msgpack:"retry_after"`
		Fields     []map[string]string `json:"fields" msgpack:"fields"`
	}
	failure := envelope.Failure{Code: wire.CodeValidation, Message: "it is wrong"}
	advised, detailed := failure, failure
	advised.RetryAfter, detailed.Fields = 1500*time.Millisecond-time.Nanosecond, fields
	both := advised
	both.Fields = fields
	for _, id := range []string{"", "42"} {
		for _, failure := range []envelope.Failure{failure, advised, detailed, both} {
			want := body{Error: "it is wrong", Code: "validation"}
			if failure.RetryAfter > 0 {
				want.RetryAfter = 1.5
			}
			for _, f := range failure.Fields {
				want.Fields = append(want.Fields, map[string]string{f.Field: f.Error})
			}
			for _, e := range all {
				msg := e.AppendError(nil, id, failure)
				h, err := e.Peek(msg)
				if err != nil || string(h.ID) != id {
					t.Errorf("%v: Peek(%q): %+v, %v", e, msg, h, err)
				}
				var got body
				switch e {
				case envelope.JSON:
					err = json.Unmarshal(h.Data, &got)
				case envelope.MsgPack:
					err = msgpack.Unmarshal(h.Data, &got)
				case envelope.Protobuf:
					got.Error, got.Code, got.RetryAfter, got.Fields = protobufError(t, msg)
				}
				if err != nil {
					t.Errorf("%v: %q: %v", e, msg, err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%v: %s", e, diff)
				}
			}
		}
	}
}

func ExampleEncoding_Peek() {
	h, err := envelope.JSON.Peek([]byte(`{"path": "/chat/join", "id": "1", "data": {"room": "general"}}`))
	fmt.Printf("%s %s %s %v\n", h.Path, h.ID, h.Data, err)

	_, err = envelope.JSON.Peek([]byte(`{"path": "/chat/join", "Path": "/admin"}`))
	fmt.Println(err)
	// Output:
	// /chat/join 1 {"room": "general"} <nil>
	// ambiguous envelope: write "path" in lower case, not "Path"
}

func ExampleEncoding_AppendError() {
	fmt.Printf("%s\n", envelope.JSON.AppendError(nil, "1", envelope.Failure{
		Code: wire.CodeUnavailable, Message: "no instance of chat is available", RetryAfter: time.Second}))
	// Output:
	// {"id":"1","data":{"error":"no instance of chat is available","code":"unavailable","retry_after":1}}
}
