package link

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// tagSize is how much of an HMAC-SHA256 ends a signed datagram, in bytes.
const tagSize = 16

// minKey is the least length of a key, in bytes.
const minKey = 16

// signer signs the datagrams of a mesh and checks those of its peers. The receiving
// node's id is signed as well, so that a datagram cannot be used at another.
//
// Repeating a datagram achieves nothing: the link drops numbers that it has seen, and
// datagrams between other incarnations or of an older generation. Of a link that was
// dropped it keeps what that takes; see grave.
type signer struct {
	hashes sync.Pool // of the key that signs
	keys   [][]byte  // that are accepted
}

// newSigner returns nil without a key.
func newSigner(key, old []byte) *signer {
	if len(key) == 0 {
		return nil
	}
	s := &signer{keys: [][]byte{key}}
	if len(old) > 0 {
		s.keys = append(s.keys, old)
	}
	s.hashes.New = func() any { return hmac.New(sha256.New, key) }
	return s
}

// sign appends the tag to the datagram that begins at start.
func (s *signer) sign(b []byte, start int, to wire.NodeID) []byte {
	h := s.hashes.Get().(hash.Hash)
	defer s.hashes.Put(h)
	size := len(b) + tagSize
	return appendTag(h, b, b[start:], to)[:size]
}

// verify takes the tag off a datagram. ok is false if no key made it.
func (s *signer) verify(b []byte, to wire.NodeID) (datagram []byte, ok bool) {
	if len(b) < tagSize {
		return nil, false
	}
	datagram, tag := b[:len(b)-tagSize:len(b)-tagSize], b[len(b)-tagSize:]
	var sum [sha256.Size]byte
	h := s.hashes.Get().(hash.Hash)
	ok = hmac.Equal(appendTag(h, sum[:0], datagram, to)[:tagSize], tag)
	s.hashes.Put(h)
	for _, key := range s.keys[1:] {
		ok = ok || hmac.Equal(appendTag(hmac.New(sha256.New, key), sum[:0], datagram, to)[:tagSize], tag)
	}
	return datagram, ok
}

// appendTag appends the whole HMAC of a datagram to dst.
func appendTag(h hash.Hash, dst, datagram []byte, to wire.NodeID) []byte {
	h.Reset()
	h.Write(datagram)
	h.Write([]byte(to))
	h.Write([]byte{byte(len(to))}) // tells where the datagram ends
	return h.Sum(dst)
}
