package chaos

import "time"

// sequence checks numbers that should come as 1, 2, 3... The zero value is ready.
type sequence struct {
	last       int               // the largest so far
	missing    map[int]time.Time // numbers below last that have not come, and when that was noticed
	duplicated int
	reordered  int
}

// take notes the next number.
func (s *sequence) take(n int) {
	if n > s.last {
		for m := s.last + 1; m < n; m++ {
			if s.missing == nil {
				s.missing = map[int]time.Time{}
			}
			s.missing[m] = time.Now()
		}
		s.last = n
		return
	}
	if _, late := s.missing[n]; late {
		delete(s.missing, n)
		s.reordered++
		return
	}
	s.duplicated++
}
