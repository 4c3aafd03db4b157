package chat

import (
	"bytes"
	_ "embed"
	"net/http"
)

//go:embed page.html
var page []byte

// Page serves the one page of the demo at /, and nothing else. It connects to /ws of
// the host that it came from.
func Page() http.Handler { return serve(page) }

// DevPage is Page with a button that kills a gateway: DELETE /dev/gateways/{node} of
// the same host.
func DevPage() http.Handler {
	return serve(bytes.Replace(page, []byte("<title>"), []byte("<meta name=\"boreas-dev\" content=\"1\">\n<title>"), 1))
}

func serve(page []byte) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "+
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		_, _ = w.Write(page)
	})
	return mux
}
