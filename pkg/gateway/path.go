package gateway

import (
	"errors"
	"fmt"
)

// checkPath reports why a path cannot be routed, in words for the client; nil if
// it can. Paths are compared byte by byte, never decoded or cleaned: a path that
// some router might read in two ways is refused.
func checkPath(p []byte) error {
	if len(p) == 0 || p[0] != '/' {
		return errors.New("a path starts with '/'")
	}
	segment := 1 // where the current segment starts
	for i := 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			if c := p[i]; c < ' ' || c == 0x7f {
				return fmt.Errorf("byte %d of the path is a control character", i)
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
