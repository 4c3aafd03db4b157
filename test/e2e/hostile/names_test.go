package hostile

import (
	"encoding/json"
	"strings"
	"testing"
)

// talk is a message on a new connection, and what must be answered: a whole message,
// or an error with this id and code.
type talk struct {
	name     string
	say      string
	want     string
	id, code string
}

// talks makes attacks of messages. The connection must live on.
func talks(list []talk) []attack {
	attacks := make([]attack, 0, len(list))
	for _, m := range list {
		attacks = append(attacks, attack{name: m.name, run: func(t *testing.T, w *world) {
			c := dial(t, w.open, "")
			c.upgrade()
			c.say(m.say)
			if m.code != "" {
				c.wantError(m.id, m.code)
			} else if got := c.hear(); got != m.want {
				t.Errorf("answered with %.300s; want %.300s", got, m.want)
			}
			c.wantAlive()
		}})
	}
	return attacks
}

// quote is a string as JSON has it.
func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// names are attacks by paths and ids.
func names() []attack {
	var list []talk
	for _, p := range []struct{ name, path, code string }{
		{"path without a slash", "echo", "bad_path"},
		{"path of a space", " ", "bad_path"},
		{"path of a URL", "http://gw/echo", "bad_path"},
		{"path with ..", "/item/../secret", "bad_path"},
		{"path of ..", "../secret", "bad_path"},
		{"path with a dot", "/./secret", "bad_path"},
		{"path with two slashes", "//secret", "bad_path"},
		{"path with an empty segment", "/item//private", "bad_path"},
		{"path with encoded dots", "/item/%2e%2e/secret", "bad_path"},
		{"path with an encoded slash", "/item%2Fprivate", "bad_path"},
		{"path with an encoded backslash", `/item/..%5csecret`, "bad_path"},
		{"path with an encoded NUL", "/echo%00", "bad_path"},
		{"path with a NUL", "/echo\x00", "bad_path"},
		{"path with a line end", "/echo\r\n", "bad_path"},
		{"path with a DEL", "/echo\x7f", "bad_path"},
		{"path of 1,025 bytes", "/" + strings.Repeat("x", 1024), "bad_message"},
		{"path of 60 KB", "/" + strings.Repeat("x", 60000), "bad_message"},
		{"path of 500 segments", strings.Repeat("/x", 500), "no_route"},
		{"path in other case", "/ECHO", "no_route"},
		{"path with a query", "/echo?x=1", "no_route"},
		{"path with a semicolon", "/echo;x", "no_route"},
		{"path of a private route", "/secret", "no_route"},
		{"path of a pattern", "/**", "no_route"},
		{"path of braces", "/{a}", "no_route"},
		{"path with a colon", "/a:b", "no_route"},
		{"path of a registry key", "/bo:boreas:{routes}:r", "no_route"},
		{"path from right to left", "/\u202eohce", "no_route"},
		{"path of emoji", "/🙈", "no_route"},
		{"path with a lookalike", "/есho", "no_route"},
		{"path with an invisible character", "/echo\u200b", "no_route"},
	} {
		list = append(list, talk{name: p.name, say: `{"id":"1","path":` + quote(p.path) + `,"data":1}`, id: "1", code: p.code})
	}
	for _, item := range []struct{ name, id string }{
		{"parameter of a private route's name", "private"},
		{"parameter of braces", "{a}"},
		{"parameter with a colon", "a:b"},
		{"parameter of a pattern", ":id"},
		{"parameter from right to left", "\u202eabc"},
		{"parameter of emoji", "👩‍👩‍👧‍👦"},
		{"parameter with an escape", "%41"},
		{"parameter of three dots", "..."},
	} {
		list = append(list, talk{name: item.name, say: `{"path":` + quote("/item/"+item.id) + `,"id":"1"}`, want: `{"id":"1","data":{"id":` + quote(item.id) + `}}`})
	}
	for _, id := range []struct{ name, id string }{
		{"id of 128 bytes", strings.Repeat("x", 128)},
		{"id of braces", "{a}"},
		{"id with a colon", "a:b"},
		{"id of a path", "../../etc/passwd"},
		{"id with a NUL", "a\x00b"},
		{"id from right to left", "\u202eabc"},
		{"id of emoji", "🙈"},
		{"id with quotes", `","data":"evil`},
	} {
		list = append(list, talk{name: id.name, say: `{"path":"/echo","id":` + quote(id.id) + `,"data":1}`, want: `{"id":` + quote(id.id) + `,"data":1}`})
	}
	return talks(append(list,
		talk{name: "empty path", say: `{"path":"","id":"1"}`, id: "1", code: "no_path"},
		talk{name: "no path", say: `{"id":"1","data":1}`, id: "1", code: "no_path"},
		talk{name: "neither path nor id", say: `{}`, code: "no_path"},
		talk{name: "id of 129 bytes", say: `{"path":"/echo","id":"` + strings.Repeat("x", 129) + `"}`, code: "bad_message"},
		talk{name: "id of 60 KB", say: `{"path":"/echo","id":"` + strings.Repeat("x", 60000) + `"}`, code: "bad_message"},
		talk{name: "id of a number", say: `{"path":"/echo","id":1}`, code: "bad_message"},
		talk{name: "id of an object", say: `{"path":"/echo","id":{}}`, code: "bad_message"},
		talk{name: "path of a list", say: `{"id":"1","path":["/echo"]}`, id: "1", code: "bad_message"},
		talk{name: "meta of a list", say: `{"id":"1","path":"/echo","meta":[]}`, id: "1", code: "bad_message"},
	))
}
