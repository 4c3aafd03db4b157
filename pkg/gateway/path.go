package gateway

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// checkPath reports why a path cannot be routed, in words for the client; nil if
// it can. Paths are compared byte by byte, never decoded or cleaned: a path that
// some router might read in two ways is refused.
func checkPath(p []byte) error {
	if len(p) == 0 || p[0] != '/' {
		return errors.New("a path starts with '/'")
	}
	if !utf8.Valid(p) {
		return errors.New("the path is not UTF-8")
	}
	segment := 1 // where the current segment starts
	for i := 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			if c := p[i]; c < ' ' || c == 0x7f {
				return fmt.Errorf("byte %d of the path is a control character", i)
			}
			if p[i] == '%' && hidesSeparator(p[i+1:]) {
				return fmt.Errorf("byte %d of the path begins an encoded dot, slash or zero", i)
			}
			continue
		}
		switch s := p[segment:i]; {
		case len(s) == 0 && i < len(p):
			return errors.New("the path has an empty segment")
		case string(s) == ".", string(s) == "..":
			return fmt.Errorf("the path has a %q segment", s)
		}
		segment = i + 1
	}
	return nil
}

// hidesSeparator reports whether what follows a '%' encodes a character that would
// change the meaning of a path, should something behind the gateway decode it.
func hidesSeparator(p []byte) bool {
	if len(p) < 2 {
		return false
	}
	switch string(p[:2]) {
	case "2e", "2E", "2f", "2F", "5c", "5C", "00":
		return true
	}
	return false
}
