package link

import "encoding/binary"

// A batch body is its frames one after another, each behind its length as a
// varint.

// countFrames checks that body is made of n frames exactly.
func countFrames(body []byte, n int) bool {
	for ; n > 0; n-- {
		if len(body) == 0 {
			return false
		}
		size, skip := uint64(body[0]), 1
		if size >= 0x80 {
			if size, skip = binary.Uvarint(body); skip <= 0 {
				return false
			}
		}
		if size > uint64(len(body)-skip) {
			return false
		}
		body = body[skip+int(size):]
	}
	return len(body) == 0
}

// cutFrame splits the first frame off a body that countFrames approved.
func cutFrame(body []byte) (frame, rest []byte) {
	size, skip := uint64(body[0]), 1
	if size >= 0x80 {
		size, skip = binary.Uvarint(body)
	}
	end := skip + int(size)
	return body[skip:end:end], body[end:]
}
