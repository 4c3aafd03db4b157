package chaos

// sequence checks numbers that should come as 1, 2, 3... The zero value is ready.
type sequence struct {
	last       int              // the largest so far
	missing    map[int]struct{} // numbers below last that have not come
	duplicated int
	reordered  int
}

// take notes the next number.
func (s *sequence) take(n int) {
	if n > s.last {
		for m := s.last + 1; m < n; m++ {
			if s.missing == nil {
				s.missing = map[int]struct{}{}
			}
			s.missing[m] = struct{}{}
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
