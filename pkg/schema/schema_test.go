package schema

import (
	"bytes"
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
	var many, numbers []string
	for i := range 1500 {
		numbers = append(numbers, fmt.Sprintf(`"i%d%s":1e999`, i, strings.Repeat("k", 2000)))
		many = append(many, fmt.Sprintf(`"x%d%s":1`, i, strings.Repeat("k", 2000)), fmt.Sprintf(`"s%d":%q`, i, strings.Repeat("é", 500)))
	}
	for _, tt := range []struct {
		name string
		data []string
		want int
	}{
		{"numbers", numbers, MaxProblems},
		{"few values", many[:300], MaxProblems},
		{"many values", many, 1},
	} {
		problems := s.JSON([]byte("{" + strings.Join(tt.data, ",") + "}"))
		if len(problems) != tt.want {
			t.Errorf("%s: %d problems; want %d", tt.name, len(problems), tt.want)
		}
		for _, p := range problems {
			if len(p.Field)+len(p.Text) > 3*maxText {
				t.Errorf("%s: a problem of %d bytes", tt.name, len(p.String()))
			}
		}
	}
}

// TestLargeData: whether data fits does not depend on how many values it has, and
// what does not fit costs no more memory than what does.
func TestLargeData(t *testing.T) {
	s, err := Compile(`{"type":"array","items":{"anyOf":[{"type":"string"},{"type":"object","required":["a"]},{"enum":["a"]}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{MaxLocated - 1, MaxLocated, 20 * MaxLocated} {
		if problems := s.JSON([]byte("[" + strings.Repeat(`"x",`, n-1) + `"x"]`)); problems != nil {
			t.Errorf("%d values that fit: %v", n, problems)
		}
		if problems := s.JSON([]byte("[" + strings.Repeat(`"x",`, n-1) + `1]`)); problems == nil {
			t.Errorf("%d values of which the last does not fit pass", n)
		}
	}
	bad := []byte("[" + strings.Repeat(`1,`, 20*MaxLocated) + `1]`)
	if n := testing.AllocsPerRun(1, func() { s.JSON(bad) }); n > 40*20*MaxLocated {
		t.Errorf("%v allocations", n)
	}
}

// TestDepth: nested data, on which a schema that refers to itself would work for
// very long, is refused first.
func TestDepth(t *testing.T) {
	s, err := Compile(`{"type":"array","items":{"anyOf":[{"$ref":"#"},{"type":"object"},{"type":"number"}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if problems := s.JSON(nested(MaxDepth)); problems != nil {
		t.Errorf("%d arrays: %v", MaxDepth, problems)
	}
	problems := s.JSON(nested(MaxDepth + 1))
	if len(problems) != 1 || problems[0].Text != tooDeep {
		t.Errorf("%d arrays: %v", MaxDepth+1, problems)
	}
	if problems := s.MsgPack(bytes.Repeat([]byte{0x91}, 500)); len(problems) == 0 {
		t.Error("500 arrays pass")
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
