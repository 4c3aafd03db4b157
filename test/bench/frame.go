package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// message is what clients send: 128 bytes with an id of idDigits digits at idAt.
const (
	message  = `{"path":"/echo","id":"00000000","data":{"text":"the quick brown fox jumps over the lazy dog","n":123456,"ok":true,"tags":["a"]}}`
	idAt     = 22
	idDigits = 8
)

// WebSocket opcodes (RFC 6455 section 5.2).
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// frameHead is the head of a client's frame that holds message: final, text,
// masked, 16 bits of length. The masking key is zero, so that the payload stands
// in the frame as it is; a server does the same work for it as for any key.
var frameHead = []byte{0x80 | opText, 0x80 | 126, 0, byte(len(message)), 0, 0, 0, 0}

// appendFrame appends a frame with message number seq.
func appendFrame(b []byte, seq int) []byte {
	b = append(b, frameHead...)
	at := len(b) + idAt
	b = append(b, message...)
	putID(b[at:at+idDigits], seq)
	return b
}

// putID writes seq in decimal, with leading zeros.
func putID(b []byte, seq int) {
	for i := range slices.Backward(b) {
		b[i] = '0' + byte(seq%10)
		seq /= 10
	}
}

var (
	idKey = []byte(`"id":"`)
	tail  = []byte(message[idAt+idDigits:])
)

// replyID reads the id of a reply, which must be the message itself, or an envelope
// with the same data.
func replyID(payload []byte) (int, error) {
	i := bytes.Index(payload, idKey)
	if i < 0 || !bytes.HasSuffix(payload, tail) || len(payload) < i+len(idKey)+idDigits+len(tail) {
		return 0, fmt.Errorf("not a reply to %s: %.200s", message, payload)
	}
	i += len(idKey)
	return strconv.Atoi(string(payload[i : i+idDigits]))
}

var errFragment = errors.New("the server sent a fragmented, masked or over-long frame")

// parseFrame reads a server's frame. n is its length, 0 if b does not hold all of it.
func parseFrame(b []byte) (op byte, payload []byte, n int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	size, head := int(b[1]), 2
	if b[0]&0x80 == 0 || size > 126 {
		return 0, nil, 0, errFragment
	}
	if size == 126 {
		if len(b) < 4 {
			return 0, nil, 0, nil
		}
		size, head = int(binary.BigEndian.Uint16(b[2:])), 4
	}
	if n = head + size; len(b) < n {
		return 0, nil, 0, nil
	}
	return b[0] & 0x0f, b[head:n], n, nil
}
