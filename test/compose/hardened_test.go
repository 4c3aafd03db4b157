package compose

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// inspected is what the engine tells of a container.
type inspected struct {
	Name       string
	Created    time.Time
	State      struct{ Pid int }
	Config     struct{ StopTimeout int }
	HostConfig struct {
		ReadonlyRootfs bool
		CapDrop        []string
		Memory         int64
		NanoCpus       int64
		PidsLimit      int64
		SecurityOpt    []string
		Ulimits        []struct{ Name string }
	}
}

func (s *stack) inspect(ids ...string) []inspected {
	s.t.Helper()
	var all []inspected
	if err := json.Unmarshal([]byte(s.docker(append([]string{"inspect"}, ids...)...)), &all); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// hardened checks that no container may do more than it needs.
func hardened(s *stack) {
	for _, c := range s.inspect(s.containers()...) {
		h := c.HostConfig
		if !h.ReadonlyRootfs || len(h.CapDrop) != 1 || h.CapDrop[0] != "ALL" || len(h.SecurityOpt) == 0 {
			s.t.Errorf("%s: read-only %v, without capabilities %v, %v", c.Name, h.ReadonlyRootfs, h.CapDrop, h.SecurityOpt)
		}
		if h.Memory == 0 || h.NanoCpus == 0 || h.PidsLimit == 0 || len(h.Ulimits) == 0 {
			s.t.Errorf("%s lacks a limit: %+v", c.Name, h)
		}
		// --stop-timeout and 5 s; docker stop and docker restart take it from here.
		if strings.Contains(c.Name, "-gateway-") && c.Config.StopTimeout < 30 {
			s.t.Errorf("%s is killed %d s after it was told to stop", c.Name, c.Config.StopTimeout)
		}
		// Engines elsewhere, such as in a virtual machine, hide their processes.
		if uid, err := procField(c.State.Pid, "Uid:"); err == nil && uid == 0 {
			s.t.Errorf("%s runs as root", c.Name)
		}
	}
}

// measured logs the figures for docs/operations.md.
func measured(s *stack) {
	for _, image := range []string{project, project + "-chat"} {
		size, err := strconv.ParseFloat(s.docker("image", "inspect", "--format", "{{.Size}}", image), 64)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Logf("image %s: %.1f MB", image, size/1e6)
	}
	for _, service := range []string{"gateway", "chat", "haproxy", "redis"} {
		for _, c := range s.inspect(s.containers(service)...) {
			if kib, err := procField(c.State.Pid, "VmRSS:"); err == nil {
				s.t.Logf("%s: RSS %.1f MiB", c.Name, float64(kib)/1024)
			}
		}
	}
	// From the start of the container to the first answer that says ready.
	gateway := s.containers("gateway")[0]
	s.docker("stop", gateway)
	start := time.Now()
	s.docker("start", gateway)
	s.eventually(func() error {
		_, err := output(exec.CommandContext(s.ctx, "docker", "exec", gateway, "/usr/local/bin/boreas", "healthcheck"))
		return err
	})
	s.t.Logf("a gateway's start to ready: at most %v", time.Since(start).Round(10*time.Millisecond))
	s.awaitHealthy(gateway)
}

// procField reads a number from /proc/PID/status.
func procField(pid int, field string) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(status), field)
	if !ok {
		return 0, fmt.Errorf("no %s", field)
	}
	return strconv.Atoi(strings.Fields(rest)[0])
}
