package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boreas-ws/boreas/pkg/envelope"
)

// TestCompileRefuses: a broken, foreign or costly schema is refused with words that
// its author understands.
func TestCompileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                                            "unexpected EOF",
		`{"type":"nonsense"}`:                          "type",
		`{"$ref":"https://example.com/schema"}`:        "not loaded from elsewhere",
		`{"$ref":"file:///etc/passwd"}`:                "not loaded from elsewhere",
		`{"$schema":"http://evil.example/s"}`:          "not loaded from elsewhere",
		`{"$ref":"#/$defs/none"}`:                      "none",
		`{"pattern":"("}`:                              "regex",
		`{"pattern":"a{999}b{999}c{999}d{999}e{999}"}`: "instructions",
		`{"pattern":"` + strings.Repeat("a", MaxPattern+1) + `"}`:              "the limit is 1024",
		`{"title":"` + strings.Repeat("x", MaxBytes) + `"}`:                    "the limit is 65536",
		`{"patternProperties":{"a{999}b{999}c{999}d{999}e{999}":{}}}`:          "instructions",
		`{"maximum":1e999999999}`:                                              "maximum: is a number out of range",
		strings.Repeat(`{"not":`, 10_000) + `{}` + strings.Repeat(`}`, 10_000): "",
	} {
		_, err := Compile(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60s: %v; want %q", text, err, want)
		}
	}
}

// TestProblems checks what a client is told.
func TestProblems(t *testing.T) {
	s, err := Compile(`{"$defs":{"name":{"type":"string","pattern":"^[a-z]+$"}},
		"type":"object","required":["user","items"],"properties":{
			"user":{"type":"object","required":["name"],"properties":{"name":{"$ref":"#/$defs/name"}}},
			"items":{"type":"array","items":{"type":"integer","minimum":0}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string][]string{
		`{"user":{"name":"x"},"items":[1,2]}`:  nil,
		`{}`:                                   {"items: is required", "user: is required"},
		``:                                     {"got null, want object"},
		`{"user":{},"items":[]}`:               {"user.name: is required"},
		`{"user":{"name":"X"},"items":[1,-1]}`: {"items.1: minimum: got -1, want 0", "user.name: 'X' does not match pattern '^[a-z]+$'"},
		`{"user":{"name":"x"},"items":[1e999999999]}`:           {"items.0: is a number out of range"},
		`{"user":{"name":"x"},"items":[1e-999999999]}`:          {"items.0: is a number out of range"},
		`{"user":{"name":"x"},"items":[0e999999999]}`:           nil,
		`{"user":{"name":"x"},"items":[1.0]}`:                   nil,
		`{"user":{"name":"x"},"items":[1]} {}`:                  {"is not valid JSON"},
		`{"user":{"name":"x"},"items":[123456789012345678901]}`: nil,
	} {
		var got []string
		for _, p := range s.JSON([]byte(data)) {
			got = append(got, p.String())
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", data, d)
		}
	}
}

// TestAnswersAreBounded: what a client is told stays small, whatever it sent.
func TestAnswersAreBounded(t *testing.T) {
	s, err := Compile(`{"additionalProperties":false,"patternProperties":{"^s":{"type":"string","maxLength":1},"^i":{"type":"integer"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprintf(`"x%d%s":1`, i, strings.Repeat("k", 2000)), fmt.Sprintf(`"s%d":%q`, i, strings.Repeat("é", 500)), fmt.Sprintf(`"i%d":1e999`, i))
	}
	problems := s.JSON([]byte("{" + strings.Join(many, ",") + "}"))
	if len(problems) != MaxProblems {
		t.Errorf("%d problems", len(problems))
	}
	for _, p := range problems {
		if len(p.Field)+len(p.Text) > 3*maxText {
			t.Errorf("a problem of %d bytes", len(p.String()))
		}
	}
}

func FuzzJSON(f *testing.F) {
	s, err := Compile(`{"type":"object","uniqueItems":true,"properties":{"n":{"multipleOf":0.01},"a":{"uniqueItems":true,"items":{"enum":[1,"a",null]}},"f":{"format":"email"}}}`)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{`{"n":1.23,"a":[1,"a"]}`, `{"n":1e308}`, `{"n":5e-324}`, `{"a":[[],[]]}`, `[]`, `"`, `{"f":"a@b"}`, "{\"\xff\":1}", "\x81\xa1n\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "\x92\xc4\x01x\xd6\xff\x00\x00\x00\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		s.JSON(data)
		msg := append([]byte("\x81\xa4data"), data...)
		if head, err := envelope.MsgPack.Peek(msg); err == nil {
			s.MsgPack(head.Data)
		}
	})
}

func BenchmarkJSON(b *testing.B) {
	s, err := Compile(`{"type":"object","required":["room"],"properties":{"room":{"type":"string","maxLength":8}},"additionalProperties":false}`)
	if err != nil {
		b.Fatal(err)
	}
	data := []byte(`{"room":"general"}`)
	b.ReportAllocs()
	for b.Loop() {
		if s.JSON(data) != nil {
			b.Fatal("it fits")
		}
	}
}
