package probe

import "testing"

func TestSequence(t *testing.T) {
	cases := []struct {
		name    string
		numbers []int
		want    Damage
	}{
		{"in order", []int{1, 2, 3}, Damage{}},
		{"gap", []int{1, 4}, Damage{Lost: 2}},
		{"repeated", []int{1, 2, 2, 1}, Damage{Duplicated: 2}},
		{"late", []int{1, 3, 2, 4}, Damage{Reordered: 1}},
		{"late and repeated", []int{2, 1, 1}, Damage{Duplicated: 1, Reordered: 1}},
		{"all of it", []int{1, 5, 3, 5, 7}, Damage{Lost: 3, Duplicated: 1, Reordered: 1}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var s Sequence
			var sum Damage
			for _, n := range tc.numbers {
				sum.Add(s.Take(n))
			}
			if s.Damage != tc.want || sum != tc.want || len(s.Missing) != tc.want.Lost {
				t.Errorf("%v: %+v, in sum %+v, %d missing; want %+v", tc.numbers, s.Damage, sum, len(s.Missing), tc.want)
			}
		})
	}
}
