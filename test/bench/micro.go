package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"
)

// hotPackages have benchmarks of the parts that every message passes.
var hotPackages = []string{"envelope", "wire", "link", "redisbus", "backplane", "router", "registry", "gateway", "service", "metrics"}

// Micro is the outcome of one Go benchmark.
type Micro struct {
	Package string  `json:"package"`
	Name    string  `json:"name"`
	Nanos   float64 `json:"ns_per_op"`
	Bytes   int64   `json:"bytes_per_op"`
	Allocs  int64   `json:"allocs_per_op"`
}

// micros runs the Go benchmarks of the hot packages, each for d.
func micros(ctx context.Context, d time.Duration) ([]Micro, error) {
	const module = "github.com/boreas-ws/boreas/pkg/"
	args := []string{"test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", d.String(), "-p", "1"}
	for _, p := range hotPackages {
		args = append(args, module+p)
	}
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s%s", err, out, exit.Stderr)
		}
		return nil, fmt.Errorf("go test -bench: %w", err)
	}
	return parseMicros(string(out)), nil
}

// parseMicros reads the output of go test -bench.
func parseMicros(out string) []Micro {
	var all []Micro
	pkg := ""
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == "pkg:" {
			pkg = path.Base(f[1])
		}
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		m := Micro{Package: pkg, Name: strings.TrimPrefix(f[0], "Benchmark")}
		if i := strings.LastIndexByte(m.Name, '-'); i > 0 {
			m.Name = m.Name[:i] // what follows is GOMAXPROCS
		}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				continue
			}
			switch f[i+1] {
			case "ns/op":
				m.Nanos = v
			case "B/op":
				m.Bytes = int64(v)
			case "allocs/op":
				m.Allocs = int64(v)
			}
		}
		all = append(all, m)
	}
	return all
}
