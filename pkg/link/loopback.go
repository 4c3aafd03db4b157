package link

import "context"

// loop delivers what this node sends to itself. It uses the sending half of the
// loopback link as its queue: same window, same order, no bus.
func (m *Mesh) loop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.loopWake:
		}
		for ctx.Err() == nil && m.self.deliverLocal() {
		}
	}
}

// deliverLocal delivers one batch, and reports whether there was one.
func (l *Link) deliverLocal() bool {
	now := l.mesh.now()
	l.recvMu.Lock()
	defer l.recvMu.Unlock()
	l.mu.Lock()
	l.num++
	b, _ := l.snd.next(l.num, now)
	if b == nil || l.over {
		l.scheduled = false
		l.mu.Unlock()
		return false
	}
	end := b.end()
	body := l.snd.data.appendTo(make([]byte, 0, b.size), b.pos, b.size) // the Handler may keep it
	l.countSent(b, false)
	l.stats.FramesReceived += uint64(b.count)
	l.stats.BytesReceived += uint64(b.size)
	call2(l.mesh.cfg.Hooks.Received, b.count, b.size)
	l.mu.Unlock()

	l.rcv.ready = append(l.rcv.ready, segment{body: body})
	l.deliver()

	l.mu.Lock()
	l.snd.ack(end, now)
	l.endFlushes(false)
	l.admit()
	l.mu.Unlock()
	return true
}
