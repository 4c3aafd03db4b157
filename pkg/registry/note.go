package registry

import (
	"context"
	"fmt"
	"time"
)

// SwapNote changes what is noted under a name, for all nodes, from old to new, and keeps
// it for so long; "" is no note. It returns what is noted now: new if it was changed, or
// was new already. Notes are gone when Redis loses its data. After an error, an
// [ErrUnavailable], it may be changed or not; the same call again finds out.
func (r *Registry) SwapNote(ctx context.Context, name, old, new string, keep time.Duration) (now string, err error) {
	c := &call{script: scriptNote, keys: []string{r.keys.note(name)}, args: []any{old, new, ms(keep)}, n: 1}
	if err := r.exec(ctx, c); err != nil {
		return "", fmt.Errorf("change a note: %w", err)
	}
	return text(at(c.reply, 0)), nil
}
