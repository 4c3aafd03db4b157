package probe

import "time"

// Sequence checks numbers that should come as 1, 2, 3... The zero value is ready.
type Sequence struct {
	Last    int               // the largest so far
	Missing map[int]time.Time // numbers below Last that have not come, and when that was noticed
	Damage                    // so far; Lost is how many are missing
}

// Damage is what is wrong with numbers.
type Damage struct {
	Lost       int `json:"lost,omitempty"`
	Duplicated int `json:"duplicated,omitempty"`
	Reordered  int `json:"reordered,omitempty"`
}

// Add adds up.
func (d *Damage) Add(more Damage) {
	d.Lost += more.Lost
	d.Duplicated += more.Duplicated
	d.Reordered += more.Reordered
}

// Take notes the next number, and returns what is wrong with it: it shows that others are
// lost, or that one of those is not, but came late (Lost is -1), or it came before.
func (s *Sequence) Take(n int) (d Damage) {
	defer func() { s.Add(d) }()
	if n > s.Last {
		for m := s.Last + 1; m < n; m++ {
			if s.Missing == nil {
				s.Missing = map[int]time.Time{}
			}
			s.Missing[m] = time.Now()
		}
		d.Lost = n - s.Last - 1
		s.Last = n
		return d
	}
	if _, late := s.Missing[n]; late {
		delete(s.Missing, n)
		return Damage{Lost: -1, Reordered: 1}
	}
	return Damage{Duplicated: 1}
}
