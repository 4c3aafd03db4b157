package link

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// drawDatagram makes a header that a link could send, and a body for it.
func drawDatagram(t *rapid.T) (header, []byte) {
	number := rapid.Uint64Range(0, 1<<40)
	h := header{
		node:  []byte(rapid.StringMatching(`[a-z]([a-z0-9.-]{0,62}[a-z])?`).Draw(t, "node")),
		epoch: wire.Epoch(rapid.Uint64().Draw(t, "epoch")),
		to:    wire.Epoch(rapid.Uint64().Draw(t, "to")),
		sync:  rapid.Bool().Draw(t, "sync"),
		gen:   rapid.Uint64Range(1, 1<<40).Draw(t, "gen"),
		num:   rapid.Uint64Range(1, 1<<40).Draw(t, "num"),
		seen:  number.Draw(t, "seen"),
		age:   number.Draw(t, "age"),
		ack:   number.Draw(t, "ack"),
		known: number.Draw(t, "known"),
	}
	h.last = h.known + number.Draw(t, "more")
	end := h.ack
	for range rapid.IntRange(0, maxSpans).Draw(t, "spans") {
		first := end + rapid.Uint64Range(1, 1<<30).Draw(t, "skip")
		end = first + rapid.Uint64Range(0, 1<<30).Draw(t, "length")
		h.missing = append(h.missing, span{first, end})
	}
	var s sender
	s.limits = limits{maxBody: 1 << 30}
	for _, f := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 0, 10).Draw(t, "frames") {
		if uint64(s.frames) < h.last {
			s.push(f, nil)
		}
	}
	if h.count = s.frames; h.count > 0 {
		h.first = 1 + h.last - uint64(h.count)
	}
	return h, s.data.appendTo(nil, 0, s.bytes)
}

func TestDatagramRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, body := drawDatagram(t)
		b := appendHeader([]byte("before"), wire.NodeID(want.node), &want)[len("before"):]
		if len(b) > maxHeader {
			t.Fatalf("the header takes %d bytes; the limit is %d", len(b), maxHeader)
		}
		var got header
		got.missing = make([]span, 3)
		gotBody, err := open(append(b, body...), &got)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.missing) == 0 {
			got.missing = nil
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(header{}, span{})); d != "" {
			t.Fatal(d)
		}
		if !bytes.Equal(gotBody, body) {
			t.Fatalf("body %x, want %x", gotBody, body)
		}
	})
}

// TestLargestHeader: the promise of maxHeader holds at the limits.
func TestLargestHeader(t *testing.T) {
	const big = maxNumber - 1
	h := header{epoch: 1<<64 - 1, to: 1<<64 - 1, gen: big, num: big, seen: big, age: big, ack: 1 << 60, known: big, last: big, count: big, first: big}
	for i := range uint64(maxSpans) {
		end := h.ack + i<<57
		h.missing = append(h.missing, span{end + 1<<56, end + 1<<57})
	}
	if n := len(appendHeader(nil, wire.NodeID(strings.Repeat("n", wire.MaxSlug)), &h)); n > maxHeader {
		t.Errorf("the header takes %d bytes; the limit is %d", n, maxHeader)
	}
}

// TestGoldenDatagram: two versions of this program on one Redis understand each
// other as long as these bytes stay.
func TestGoldenDatagram(t *testing.T) {
	h := header{
		node: []byte("gw-1"), epoch: 0x0102030405060708, to: 0x1112131415161718, sync: true,
		gen: 2, num: 300, seen: 5, age: 1000, ack: 7, known: 8, last: 12,
		missing: []span{{8, 8}, {10, 300}}, count: 2, first: 11,
	}
	const want = "0101" + "04" + "67772d31" + "0102030405060708" + "1112131415161718" +
		"02" + "ac02" + "05" + "e807" + "07" + "08" + "0c" + // gen num seen age ack known last
		"02" + "0001" + "01a302" + // missing
		"02" + "0b" + // count first
		"03616263" + "00" // the frames "abc" and ""
	got := append(appendHeader(nil, "gw-1", &h), "\x03abc\x00"...)
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := func() header { return header{epoch: 1, to: 1, gen: 1, num: 1, last: 2, count: 2, first: 1} }
	build := func(change func(*header), body string) []byte {
		h := good()
		change(&h)
		return append(appendHeader(nil, "n", &h), body...)
	}
	same := func(*header) {}
	if _, err := open(build(same, "\x01a\x01b"), new(header)); err != nil {
		t.Fatalf("the good datagram: %v", err)
	}
	for name, b := range map[string][]byte{
		"empty":                    nil,
		"other version":            append([]byte{2}, build(same, "\x01a\x01b")[1:]...),
		"unknown flag":             append([]byte{1, 2}, build(same, "\x01a\x01b")[2:]...),
		"no node":                  {1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		"short epoch":              build(same, "")[:10],
		"generation 0":             build(func(h *header) { h.gen = 0 }, "\x01a\x01b"),
		"number 0":                 build(func(h *header) { h.num = 0 }, "\x01a\x01b"),
		"huge number":              build(func(h *header) { h.seen = maxNumber }, "\x01a\x01b"),
		"known beyond last":        build(func(h *header) { h.known = 3 }, "\x01a\x01b"),
		"batch beyond last":        build(func(h *header) { h.first = 2 }, "\x01a\x01b"),
		"batch from 0":             build(func(h *header) { h.first = 0 }, "\x01a\x01b"),
		"too few frames":           build(same, "\x01a"),
		"too many frames":          build(same, "\x01a\x01b\x01c"),
		"frame past the end":       build(same, "\x01a\x02b"),
		"bad frame length":         build(same, "\x01a\xff\xff"),
		"body without frames":      build(func(h *header) { h.count = 0 }, "\x01a"),
		"count beyond the body":    build(func(h *header) { h.count, h.last = 1<<60, 1<<61 }, "\x01a"),
		"too many runs":            build(func(h *header) { h.missing = make([]span, maxSpans+1) }, "\x01a\x01b"),
		"empty run":                build(func(h *header) { h.missing = []span{{2, 1}} }, "\x01a\x01b"),
		"run beyond every number":  build(func(h *header) { h.missing = []span{{1, maxNumber}} }, "\x01a\x01b"),
		"cut off in the numbers":   build(same, "")[:24],
		"cut off before the count": build(func(h *header) { h.count = 0 }, "")[:27],
	} {
		if _, err := open(b, new(header)); err == nil {
			t.Errorf("%s: was accepted", name)
		}
	}
}

// FuzzDatagram feeds a mesh: nothing may panic, and what open accepts keeps its
// promises.
func FuzzDatagram(f *testing.F) {
	h := header{epoch: 1, to: 1, gen: 1, num: 1, last: 2, count: 2, first: 1}
	f.Add(append(appendHeader(nil, "peer", &h), "\x01a\x01b"...))
	h = header{epoch: 1, to: 1, gen: 3, num: 9, seen: 4, ack: 1, last: 30, sync: true, missing: []span{{2, 4}, {9, 9}}}
	f.Add(appendHeader(nil, "peer", &h))
	h = header{epoch: 2, to: 1, gen: 1, num: 2, last: 40, count: 1, first: 40}
	f.Add(append(appendHeader(nil, "peer", &h), append([]byte{0xac, 0x02}, make([]byte, 300)...)...))
	h = header{epoch: 1, to: 2, gen: 1, num: 2}
	f.Add(appendHeader(nil, "self", &h))
	f.Fuzz(func(t *testing.T, data []byte) {
		var h header
		body, err := open(data, &h)
		if err == nil {
			frames := 0
			for rest := body; len(rest) > 0; frames++ {
				_, rest = cutFrame(rest)
			}
			if frames != h.count || h.known > h.last || h.count > 0 && h.first+uint64(h.count)-1 > h.last {
				t.Fatalf("%+v with %d frames was accepted", h, frames)
			}
			end := h.ack
			for _, r := range h.missing {
				if r.first <= end || r.last < r.first {
					t.Fatalf("missing runs %v after %d were accepted", h.missing, h.ack)
				}
				end = r.last
			}
			again := append(appendHeader(nil, wire.NodeID(h.node), &h), body...)
			var h2 header
			if _, err := open(again, &h2); err != nil {
				t.Fatalf("written again it is refused: %v", err)
			}
		}
		w := newWorld(t, Config{WindowBytes: 4096})
		n := w.start("self", 1)
		peer := wire.Incarnation{Node: "peer", Epoch: 1}
		n.send(peer, 10)
		n.checkWindow(func() { (*inbox)(n.mesh).Datagram(data) })
		n.flush()
		n.checkWindow(func() { (*inbox)(n.mesh).Datagram(data) })
		w.sleep(DefaultMinRTO)
		n.flush()
	})
}
