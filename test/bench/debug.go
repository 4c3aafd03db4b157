package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// debugMux serves what a process.debug address offers.
func debugMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	return mux
}

// collectGarbage has the process run its garbage collector.
func (p process) collectGarbage(ctx context.Context) error {
	return p.fetch(ctx, "/debug/pprof/heap?gc=1", io.Discard)
}

// fetch copies what the process serves at path to w.
func (p process) fetch(ctx context.Context, path string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.debug+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", p.name, path, resp.Status)
	}
	_, err = io.Copy(w, resp.Body)
	return err
}

// profile records the CPU profiles of a target's processes for d, and names the
// files after target, process and shape.
func profile(ctx context.Context, dir string, t *target, s shape, d time.Duration) error {
	failed := make(chan error, len(t.procs))
	for _, p := range t.procs {
		if p.debug == "" {
			failed <- nil
			continue
		}
		name := strings.ReplaceAll(fmt.Sprintf("%s-%s-%v.pprof", t.name, p.name, s), " ", "")
		go func() {
			f, err := os.Create(filepath.Join(dir, name))
			if err == nil {
				err = p.fetch(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(1, int(d.Seconds()))), f)
				_ = f.Close()
			}
			failed <- err
		}()
	}
	var err error
	for range t.procs {
		if e := <-failed; e != nil {
			err = e
		}
	}
	return err
}
