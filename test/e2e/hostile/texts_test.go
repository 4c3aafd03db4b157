package hostile

import "strings"

// texts are attacks by JSON.
func texts() []attack {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	echo := func(name, data string) talk { // what the gateway forwards as it is
		return talk{name: name, say: `{"path":"/echo","id":"1","data":` + data + `}`, want: `{"id":"1","data":` + data + `}`}
	}
	// Where the id comes before the fault, the error has it.
	bad := func(name, text string) talk { return talk{name: name, say: text, id: "1", code: "bad_message"} }
	lost := func(name, text string) talk { return talk{name: name, say: text, code: "bad_message"} }
	const start = `{"id":"1","path":"/echo","data":`
	return talks([]talk{
		bad("depth 10,001", start+nested(10001)+"}"),
		bad("depth 513", start+nested(512)+"}"),
		bad("objects of depth 10,001", start+strings.Repeat(`{"a":`, 10001)),
		bad("depth 30,000 that never ends", start+strings.Repeat("[", 30000)),
		echo("depth 512", nested(511)),
		bad("the id twice", `{"id":"1","id":"2","path":"/echo"}`),
		bad("the path twice", `{"id":"1","path":"/echo","path":"/secret"}`),
		bad("the data twice", start+`1,"data":2}`),
		bad("the path twice, once in capitals", `{"id":"1","path":"/echo","PATH":"/secret"}`),
		bad("the path twice, once escaped", `{"id":"1","path":"/echo","p\u0061th":"/secret"}`),
		bad("a lookalike of the path", `{"id":"1","Path":"/secret"}`),
		echo("keys of the data twice", `{"a":1,"a":2}`),
		echo("1e999", "1e999"),
		echo("a number of 10,000 digits", strings.Repeat("9", 10000)),
		echo("-0", "-0"),
		bad("01", start+"01}"),
		bad("+1", start+"+1}"),
		bad("NaN", start+"NaN}"),
		bad("Infinity", start+"-Infinity}"),
		bad("a hexadecimal number", start+"0x10}"),
		bad("a number that ends in a dot", start+"1.}"),
		echo("half a surrogate pair", `"\ud800"`),
		echo("a surrogate pair the wrong way round", `"\udc00\ud800"`),
		{name: "half a surrogate pair in a path", say: `{"id":"1","path":"/\ud800"}`, id: "1", code: "no_route"},
		lost("a byte order mark", "\ufeff"+start+"1}"),
		lost("nothing", ""),
		lost("a list", "[]"),
		lost("a string", `"/echo"`),
		lost("null", "null"),
		lost("UTF-16 without its zeros", `{\x00`),
		lost("an unfinished object", `{`),
		bad("a comma at the end", start+"1,}"),
		bad("a comment", start+"1/*x*/}"),
		bad("single quotes", start+"'x'}"),
		bad("a key without quotes", start+"1,a:2}"),
		bad("a control character in a string", start+"\"\x01\"}"),
		bad("an unknown escape", start+`"\x41"}`),
		bad("half an escape", start+`"\u12"}`),
		bad("two messages in one", start+"1}"+start+"2}"),
		bad("a string that never ends", start+`"`+strings.Repeat("x", 60000)),
		echo("60,000 bytes of backslashes", `"`+strings.Repeat(`\\`, 30000)+`"`),
		echo("20,000 keys", "{"+strings.Repeat(`"":0,`, 12000)+`"":0}`),
	})
}
