package chaos

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/boreas-ws/boreas/test/probe"
)

// Report is the result of a run.
type Report struct {
	Seed uint64
	Rows []Row
}

// Row is what one fault did.
type Row struct {
	Fault        Fault
	Injected     int
	probe.Damage                 // of messages, both directions, and pushes
	Unexplained  int             // closes that the fault does not explain
	Refused      int             // sessions that were told to come back later
	Recoveries   []time.Duration // one for each injection
	Resident     int64           // bytes: peak of the largest node
	Redis        int64           // bytes: peak of the largest redis-server
	Problems     []string        // whatever else an oracle found

	unpushed []missed // pushes that sessions missed, until their pushers are asked
}

// judge adds what a session says that ended because of one of causes, or is open.
func (r *Row) judge(v verdict, causes ...cause) {
	r.Add(v.Damage)
	r.Problems = append(r.Problems, v.broken...)
	r.unpushed = append(r.unpushed, v.unpushed...)
	switch explained := v.explained(causes); {
	case v.refused != "":
		r.Refused++
		if !explained {
			r.Problems = append(r.Problems, fmt.Sprintf("a new session at %s was refused with %s%s", v.gateway, v.refused, during(causes)))
		}
	case v.closed && !explained:
		r.Unexplained++
		r.Problems = append(r.Problems, fmt.Sprintf("a session at %s, pinned to %q, was closed with %d %s%s", v.gateway, v.instance, v.code, v.reason, during(causes)))
	}
}

// recovered adds how long the sessions stood still after a fault.
func (r *Row) recovered(f Fault, took time.Duration) {
	r.Recoveries = append(r.Recoveries, took)
	if most := f.maxRecovery(); took > most {
		r.Problems = append(r.Problems, fmt.Sprintf("recovery from %q took %v; the bound is %v", f.Name, took.Round(time.Millisecond), most))
	}
}

// hear adds what instances report.
func (r *Row) hear(list []wrong) {
	for _, w := range list {
		r.Add(w.damage)
		r.Problems = append(r.Problems, w.what)
	}
}

// took notes the peaks of resident memory, in bytes.
func (r *Row) took(node, redis int64) {
	r.Resident, r.Redis = node, redis
	if node > MaxResident {
		r.Problems = append(r.Problems, fmt.Sprintf("a node took %d MiB of memory; the bound is %d", node>>20, MaxResident>>20))
	}
	if redis > MaxRedisResident {
		r.Problems = append(r.Problems, fmt.Sprintf("a redis-server took %d MiB of memory; the bound is %d", redis>>20, MaxRedisResident>>20))
	}
}

// recovery returns the median and the longest recovery.
func (r *Row) recovery() (median, longest time.Duration) {
	if len(r.Recoveries) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(r.Recoveries))
	return sorted[len(sorted)/2], sorted[len(sorted)-1]
}

// OK reports whether every oracle is content.
func (r *Row) OK() bool {
	return r.Injected > 0 && r.Damage == (probe.Damage{}) && r.Unexplained == 0 && len(r.Problems) == 0
}

// maxProblems is how many problems a verdict names.
const maxProblems = 8

// Verdict is "ok" or says what is wrong.
func (r *Row) Verdict() string {
	if r.OK() {
		return "ok"
	}
	problems := slices.Compact(slices.Clone(r.Problems))
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	return "FAILED: " + strings.Join(problems, "; ")
}

// OK reports whether every oracle is content with every fault.
func (r *Report) OK() bool {
	return len(r.Rows) > 0 && !slices.ContainsFunc(r.Rows, func(row Row) bool { return !row.OK() })
}

// WriteTable prints the report as a table of text.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "fault\t\tredis\ttimes\tlost\tduplicated\treordered\tunexplained closes\trefused\trecovery p50\tmax\tpeak RSS\tverdict")
	for _, row := range r.Rows {
		fmt.Fprintln(t, strings.Join(row.cells(), "\t"))
	}
	return t.Flush()
}

// The lines of a Markdown file between which WriteDocs puts the table.
const (
	tableStart = "<!-- table of boreas chaos -->"
	tableEnd   = "<!-- end of table -->"
)

// WriteDocs replaces the table in a Markdown file, between tableStart and tableEnd.
func (r *Report) WriteDocs(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), tableStart+"\n")
	_, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		return fmt.Errorf("%s: no lines %q and %q", path, tableStart, tableEnd)
	}
	return os.WriteFile(path, []byte(before+tableStart+"\n"+r.markdown()+tableEnd+after), 0o644)
}

// markdown is the report as a table.
func (r *Report) markdown() string {
	var b strings.Builder
	b.WriteString("| # | fault | Redis | times | lost | duplicated | reordered | unexplained closes | refused | recovery p50 | max | peak RSS | verdict |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row.cells(), " | "))
	}
	return b.String()
}

func (r *Row) cells() []string {
	median, longest := r.recovery()
	return []string{
		strconv.Itoa(r.Fault.Number), r.Fault.Name, r.Fault.Backend, strconv.Itoa(r.Injected), strconv.Itoa(r.Lost),
		strconv.Itoa(r.Duplicated), strconv.Itoa(r.Reordered), strconv.Itoa(r.Unexplained), strconv.Itoa(r.Refused),
		fmt.Sprintf("%.2f s", median.Seconds()), fmt.Sprintf("%.2f s", longest.Seconds()),
		fmt.Sprintf("%d MiB, Redis %d MiB", r.Resident>>20, r.Redis>>20), r.Verdict(),
	}
}
