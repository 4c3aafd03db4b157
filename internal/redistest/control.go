package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// errNotRunning is returned for a server that was killed or closed.
var errNotRunning = errors.New("redis-server is not running")

// Kill ends the server as kill -9 does and waits until it is gone. Killing a server
// that does not run does nothing.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kill()
}

func (s *Server) kill() error {
	if s.proc == nil {
		return nil
	}
	if err := s.proc.handle.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill redis-server: %w", err)
	}
	<-s.proc.exited
	s.proc = nil
	return nil
}

// Restart kills the server if it runs, starts it at the same addresses and returns
// when it answers PING.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.kill(); err != nil {
		return err
	}
	return s.start(context.Background())
}

// Stop freezes the server (SIGSTOP): connections stay open and nothing is answered.
func (s *Server) Stop() error { return s.signal(stopSignal) }

// Cont lets a frozen server go on (SIGCONT).
func (s *Server) Cont() error { return s.signal(contSignal) }

func (s *Server) signal(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return errNotRunning
	}
	if err := s.proc.handle.Signal(sig); err != nil {
		return fmt.Errorf("send %v to redis-server: %w", sig, err)
	}
	return nil
}

// Close ends the server and removes its files.
func (s *Server) Close() error {
	return errors.Join(s.client.Close(), s.Kill(), os.RemoveAll(s.dir))
}
