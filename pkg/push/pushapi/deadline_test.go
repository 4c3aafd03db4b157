package pushapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TestDeadlineOfRequests: a request has the deadline that it says, within 65 s, or
// else the configured one, as docs/api.md has it.
func TestDeadlineOfRequests(t *testing.T) {
	for _, test := range []struct {
		name, header, value string
		timeout, want       time.Duration
	}{
		{name: "none", want: 10 * time.Second},
		{name: "none, but a configured one", timeout: 3 * time.Second, want: 3 * time.Second},
		{name: "Connect, short", header: "Connect-Timeout-Ms", value: "2500", timeout: time.Second, want: 2500 * time.Millisecond},
		{name: "Connect, a minute", header: "Connect-Timeout-Ms", value: "60000", want: time.Minute},
		{name: "Connect, longer", header: "Connect-Timeout-Ms", value: "9999999999", want: 65 * time.Second},
		{name: "gRPC, short", header: "Grpc-Timeout", value: "40S", want: 40 * time.Second},
		{name: "gRPC, longer", header: "Grpc-Timeout", value: "2H", want: 65 * time.Second},
	} {
		a, err := New(nil, Config{Timeout: test.timeout})
		if err != nil {
			t.Fatal(err)
		}
		var end time.Time
		s := httptest.NewServer(connect.NewUnaryHandler("/", func(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[emptypb.Empty], error) {
			end, _ = ctx.Deadline()
			return connect.NewResponse(&emptypb.Empty{}), nil
		}, connect.WithInterceptors(connect.UnaryInterceptorFunc(a.observe))))
		body, contentType := `{}`, "application/json"
		if test.header == "Grpc-Timeout" {
			body, contentType = "\x00\x00\x00\x00\x02{}", "application/grpc-web+json"
		}
		r, err := http.NewRequest(http.MethodPost, s.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		if test.header != "" {
			r.Header.Set(test.header, test.value)
		}
		before := time.Now()
		response, err := s.Client().Do(r)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", test.name, response, err)
		}
		response.Body.Close()
		s.Close() // the handler has returned
		if least, most := before.Add(test.want), time.Now().Add(test.want); end.Before(least) || end.After(most) {
			t.Errorf("%s: the deadline is %v after the request; want %v", test.name, end.Sub(before), test.want)
		}
	}
}
