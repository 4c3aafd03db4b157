package router

// sendable returns the status if a close frame can carry it, and one that it can
// carry if not.
func sendable(status Status) Status {
	switch {
	case status == 0 || status == StatusNoStatusRcvd:
		return StatusNormalClosure
	case status < 1000 || status > 4999 || status == 1004 || status == StatusAbnormalClosure || status == StatusTLSHandshake:
		return StatusInternalError
	default:
		return status
	}
}

// settle moves a socket that is to end along: when nothing is left to handle, its
// UseClose handlers run; when they have returned, the connection is closed; when it
// has ended, so has the socket. mu is held.
func (s *socket) settle() {
	if !s.ended && !s.closing {
		return
	}
	switch {
	case s.workers > 0:
		// Whoever still has a turn may finish. The others wait for a client that
		// says no more, or need longer than a turn.
		stuck := s.queue.len() == 0 || s.config.MaxHandlers > 0 && s.workers >= s.config.MaxHandlers
		if s.owner == nil && stuck && !s.stopping.Load() {
			s.stop()
			s.schedule()
		}
	case s.queue.len() > 0:
	case !s.closedHandled:
		s.closedHandled = true
		go s.runClose()
	case !s.closed:
	default:
		if !s.connClosed && !s.ended {
			s.closeConn()
		}
		if s.ended && !isDone(s.done) {
			s.kill()
			if s.timer != nil {
				s.timer.Stop()
			}
			close(s.done)
		}
	}
}

// closeConn asks the transport for the end. mu is held.
func (s *socket) closeConn() {
	s.connClosed = true
	go s.conn.Close(s.end.status, s.end.reason) // which may call End at once
}

func (s *socket) runClose() {
	c := s.newRun(closeNode, *s.router.closes.Load(), &worker{socket: s})
	defer func() { // also when a handler ends the goroutine
		if f := c.detach(); f != nil {
			f.recycle(true)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = true
		s.settle()
	}()
	c.Next()
}
