package velarosadapter

import (
	"bufio"
	"net"
	"net/http"
)

// serveInMemory returns the client's end of a connection on which h serves one
// request, as coming from the address remote.
func serveInMemory(h http.Handler, remote string) net.Conn {
	client, server := net.Pipe()
	go func() {
		rw := bufio.NewReadWriter(bufio.NewReader(server), bufio.NewWriter(server))
		req, err := http.ReadRequest(rw.Reader)
		if err != nil {
			_ = server.Close()
			return
		}
		req.RemoteAddr = remote
		w := &responseWriter{conn: server, rw: rw, header: http.Header{}}
		h.ServeHTTP(w, req)
		if !w.hijacked {
			w.WriteHeader(http.StatusOK)
			_ = server.Close()
		}
	}()
	return client
}

// responseWriter answers a request on a pipe, or gives the pipe away.
type responseWriter struct {
	conn     net.Conn
	rw       *bufio.ReadWriter
	header   http.Header
	hijacked bool
	wrote    bool
}

// Header implements http.ResponseWriter.
func (w *responseWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. The answer has no body: only its
// status is of use to the session.
func (w *responseWriter) WriteHeader(status int) {
	if w.wrote || w.hijacked {
		return
	}
	w.wrote = true
	resp := http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header}
	resp.Header.Del("Content-Length")
	if resp.Write(w.rw) == nil {
		_ = w.rw.Flush()
	}
}

// Write implements http.ResponseWriter.
func (w *responseWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(b), nil
}

// Hijack implements http.Hijacker.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	return w.conn, w.rw, nil
}
