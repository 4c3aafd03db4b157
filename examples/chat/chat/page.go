package chat

import (
	"bytes"
	_ "embed"
	"html"
	"net/http"
	"strings"
)

//go:embed page.html
var page []byte

// Page serves the one page of the demo at /, and nothing else. It connects to /ws of
// the host that it came from.
func Page() http.Handler { return serve(page) }

// DevPage is Page with a button that kills a gateway, DELETE /dev/gateways/{node} of
// the same host, and with the commands that push to a user from outside.
func DevPage(pushes []string) http.Handler {
	meta := `<meta name="boreas-dev" content="` + html.EscapeString(strings.Join(pushes, "\n")) + "\">\n<title>"
	return serve(bytes.Replace(page, []byte("<title>"), []byte(meta), 1))
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
