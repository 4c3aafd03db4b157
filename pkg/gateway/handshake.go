package gateway

import "net/http"

// checkHandshake reports what is wrong with a request to upgrade, for the client,
// with a status; "" if nothing is. It refuses what two programs on the way could
// read in two ways, and what gorilla/websocket lets pass.
func checkHandshake(r *http.Request) (status int, text string) {
	switch {
	case !r.ProtoAtLeast(1, 1):
		return http.StatusHTTPVersionNotSupported, "a WebSocket needs HTTP/1.1"
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, "a WebSocket is opened with GET"
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return http.StatusBadRequest, "a handshake has no body"
	}
	for _, name := range [...]string{"Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version"} {
		if len(r.Header[name]) != 1 {
			return http.StatusBadRequest, "a handshake has one " + name + " header"
		}
	}
	return 0, ""
}
