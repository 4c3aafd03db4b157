package doctest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// step is one line of a dialogue: what the client sends, or what it must receive.
type step struct {
	line   int // in the document
	client bool
	text   string
}

var stepLine = regexp.MustCompile(`^\s*(client|server)\s*->\s*(.+?)\s*$`)

// dialogue reads the steps of a block; it is empty when the block has none.
func dialogue(b block) []step {
	var steps []step
	for i, line := range strings.Split(b.text, "\n") {
		if m := stepLine.FindStringSubmatch(line); m != nil {
			steps = append(steps, step{line: b.line + 1 + i, client: m[1] == "client", text: withoutRemark(m[2])})
		}
	}
	return steps
}

// withoutRemark cuts what follows a JSON value, for the reader.
func withoutRemark(s string) string {
	var raw json.RawMessage
	if err := json.NewDecoder(strings.NewReader(s)).Decode(&raw); err == nil {
		return string(raw)
	}
	return s
}

var closeStep = regexp.MustCompile(`^close (\d+)(?: (\S.*))?$`)

// replay plays the steps on a new connection.
func replay(ctx context.Context, url string, b block, steps []step) error {
	header := map[string][]string{}
	if b.verb == "subprotocol" {
		header["Sec-WebSocket-Protocol"] = []string{b.argument}
	}
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, url, header)
	if err != nil {
		return fmt.Errorf("%s: dial: %w", b, err)
	}
	defer conn.Close()
	defer resp.Body.Close()
	for _, s := range steps {
		at := fmt.Sprintf("%s:%d", b.file, s.line)
		if s.client {
			if err := conn.WriteMessage(websocket.TextMessage, []byte(s.text)); err != nil {
				return fmt.Errorf("%s: write: %w", at, err)
			}
			continue
		}
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return err
		}
		_, got, err := conn.ReadMessage()
		if err := compareStep(s.text, got, err); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	return nil
}

// compareStep reports how what the client received differs from the step.
func compareStep(want string, got []byte, readErr error) error {
	if m := closeStep.FindStringSubmatch(want); m != nil {
		var end *websocket.CloseError
		if !errors.As(readErr, &end) {
			return fmt.Errorf("want %s, got message %q, error %w", want, got, readErr)
		}
		if code, _ := strconv.Atoi(m[1]); end.Code != code || m[2] != "" && m[2] != end.Text {
			return fmt.Errorf("want %s, got close %d %s", want, end.Code, end.Text)
		}
		return nil
	}
	if readErr != nil {
		return fmt.Errorf("want %s, got %w", want, readErr)
	}
	wantValue, err := decodeValue([]byte(want))
	if err != nil {
		return fmt.Errorf("the document's line is not JSON: %w", err)
	}
	gotValue, err := decodeValue(got)
	if err != nil {
		return fmt.Errorf("want %s, got %q: %w", want, got, err)
	}
	if !matches(wantValue, gotValue) {
		return fmt.Errorf("want %s, got %s", want, bytes.TrimSpace(got))
	}
	return nil
}

func decodeValue(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// matches compares JSON values; "..." in want stands for any value.
func matches(want, got any) bool {
	switch want := want.(type) {
	case string:
		return want == "..." || want == got
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok || len(want) != len(got) {
			return false
		}
		for k, v := range want {
			value, ok := got[k]
			if !ok || !matches(v, value) {
				return false
			}
		}
		return true
	case []any:
		got, ok := got.([]any)
		if !ok || len(want) != len(got) {
			return false
		}
		for i := range want {
			if !matches(want[i], got[i]) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(want, got)
	}
}

func TestDialogue(t *testing.T) {
	b := block{file: "f.md", line: 10, text: "client -> {\"id\":\"1\"}   (hello)\n\nserver -> close 1009 too big\nclient -> not json\n"}
	want := []step{
		{line: 11, client: true, text: `{"id":"1"}`},
		{line: 13, client: false, text: "close 1009 too big"},
		{line: 14, client: true, text: "not json"},
	}
	if got := dialogue(b); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCompareStep(t *testing.T) {
	tooBig := &websocket.CloseError{Code: 1009, Text: "too big"}
	for _, test := range []struct {
		name, want, got string
		err             error
		ok              bool
	}{
		{"equal", `{"id":"1","data":{"n":1}}`, `{"data":{"n":1},"id":"1"}`, nil, true},
		{"any value", `{"id":"1","data":"..."}`, `{"data":{"n":1},"id":"1"}`, nil, true},
		{"other value", `{"id":"1"}`, `{"id":"2"}`, nil, false},
		{"missing key", `{"id":"1","data":"..."}`, `{"id":"1"}`, nil, false},
		{"further key", `{"id":"1"}`, `{"id":"1","path":"/x"}`, nil, false},
		{"arrays", `[1,{"a":"..."}]`, `[1,{"a":[]}]`, nil, true},
		{"longer array", `[1]`, `[1,2]`, nil, false},
		{"close", "close 1009 too big", "", tooBig, true},
		{"close without a reason", "close 1009", "", tooBig, true},
		{"other code", "close 1012", "", tooBig, false},
		{"other reason", "close 1009 other", "", tooBig, false},
		{"message instead of close", "close 1009", "{}", nil, false},
		{"close instead of message", "{}", "", tooBig, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := compareStep(test.want, []byte(test.got), test.err); (err == nil) != test.ok {
				t.Errorf("error %v, want ok %v", err, test.ok)
			}
		})
	}
}
