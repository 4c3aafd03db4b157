package gateway

import (
	"os"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestDocumentation checks that a client author finds everything that a client can
// be told, and an operator every reason.
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	protocol := string(b)
	for _, code := range []wire.ErrorCode{
		wire.CodeBadMessage, wire.CodeNoPath, wire.CodeBadPath, wire.CodeNoRoute, wire.CodeUnavailable, wire.CodeInstanceLost,
		wire.CodeInternal, wire.CodeRateLimited, wire.CodeValidation, wire.CodeUnauthorized,
	} {
		if !strings.Contains(protocol, "\n| `"+string(code)+"` |") {
			t.Errorf("docs/protocol.md has no row for the error code %s", code)
		}
	}
	for _, why := range []Refusal{RefuseNotWebSocket, RefuseSubprotocol, RefuseOrigin, RefuseTooLarge, RefuseNotReady, RefuseDraining, RefuseTooMany,
		RefuseNoCredential, RefuseBadCredential, RefuseExpired, RefuseDenied, RefuseAuthUnavailable,
		RefuseHandshakes, RefuseAcceptRate, RefuseAddress, RefuseUser} {
		if !strings.Contains(protocol, "`"+string(why)+"`") {
			t.Errorf("docs/protocol.md does not mention the refusal %s", why)
		}
	}
	for _, m := range []envelope.Message{
		{Path: AuthPath, Data: encodeData(envelope.JSON, expiring{"token_expiring", 60})},
		{Path: AuthPath, ID: "1", Data: encodeData(envelope.JSON, renewal{"..."})},
		{ID: "1", Data: encodeData(envelope.JSON, renewed{"alice", 3600})},
	} {
		if line := string(envelope.JSON.AppendMessage(nil, m)); !strings.Contains(protocol, line) {
			t.Errorf("docs/protocol.md does not have the message %s", line)
		}
	}
	source, err := os.ReadFile("hooks.go")
	if err != nil {
		t.Fatal(err)
	}
	for c := causeNone + 1; c < causes; c++ {
		e := c.ending()
		if e.sendsFrame() && e.status != 0 && !strings.Contains(protocol, "`"+e.reason+"`") {
			t.Errorf("docs/protocol.md does not mention the close reason %s", e.reason)
		}
		if !strings.Contains(string(source), e.reason) {
			t.Errorf("Hooks.SocketClosed does not mention the reason %s", e.reason)
		}
	}
}
