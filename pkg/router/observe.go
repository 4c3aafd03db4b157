package router

import "time"

// Observe adds hooks to those of Config.Hooks and of earlier calls.
func (r *Router) Observe(h Hooks) {
	r.configure(func(c *Config) {
		c.Hooks = Hooks{
			Panicked:     both(c.Hooks.Panicked, h.Panicked),
			TurnTimedOut: both(c.Hooks.TurnTimedOut, h.TurnTimedOut),
			Handled:      both1(c.Hooks.Handled, h.Handled),
			HandlerLimit: both(c.Hooks.HandlerLimit, h.HandlerLimit),
		}
	})
}

// both calls first and second, as far as they are set.
func both(first, second func()) func() {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	default:
		return func() { first(); second() }
	}
}

func both1(first, second func(time.Duration)) func(time.Duration) {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	default:
		return func(d time.Duration) { first(d); second(d) }
	}
}
