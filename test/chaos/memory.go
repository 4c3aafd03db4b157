package chaos

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// memoryPoll is how often processes are asked for their memory: of one that is killed,
// what it took in the last so much is missed.
const memoryPoll = 50 * time.Millisecond

// memory is the most resident memory that a process of one kind has had since reset. What
// one had that is gone counts.
type memory struct {
	mu      sync.Mutex
	peak    int64 // guarded by mu: bytes
	current bool  // guarded by mu: the kernel does not forget peaks; what it says of now must do
}

// watch looks until ctx ends.
func (m *memory) watch(ctx context.Context, pids func() []int) {
	for pause(ctx, memoryPoll) {
		m.sample(pids())
	}
}

// reset forgets the peaks.
func (m *memory) reset(pids []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peak, m.current = 0, false
	for _, pid := range pids {
		// Since Linux 4.0 this sets VmHWM to VmRSS.
		err := os.WriteFile(procFile(pid, "clear_refs"), []byte("5"), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) { // it ended
			m.current = true
		}
	}
}

// sample looks at processes. Those that have ended are left out.
func (m *memory) sample(pids []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	field := "VmHWM:"
	if m.current {
		field = "VmRSS:"
	}
	for _, pid := range pids {
		status, err := os.ReadFile(procFile(pid, "status"))
		if err != nil {
			continue
		}
		_, rest, _ := bytes.Cut(status, []byte("\n"+field))
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(line)), " kB"), 10, 64)
		if err == nil {
			m.peak = max(m.peak, kib<<10)
		}
	}
}

// most returns the peak since reset, in bytes; 0 where there is no /proc.
func (m *memory) most() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peak
}

func procFile(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// weight is the memory of a system.
type weight struct{ nodes, servers memory }

// weigh looks until ctx ends.
func (s *system) weigh(ctx context.Context, w *weight) {
	var watch sync.WaitGroup
	watch.Go(func() { w.nodes.watch(ctx, s.nodePIDs) })
	watch.Go(func() { w.servers.watch(ctx, s.serverPIDs) })
	watch.Wait()
}

// nodePIDs are the gateways and instances, also those that drain.
func (s *system) nodePIDs() (pids []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.started {
		select {
		case <-p.Exited():
			delete(s.started, p)
		default:
			pids = append(pids, p.PID())
		}
	}
	return pids
}

// serverPIDs are the redis-servers.
func (s *system) serverPIDs() (pids []int) {
	for _, server := range s.backend.servers() {
		if pid := server.PID(); pid != 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}
