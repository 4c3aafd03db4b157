package cloudwatchtest

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
)

// Call is a request that was answered.
type Call struct {
	Operation string // such as PutMetricData
	Input     map[string]any
	Size      int // of the input, in bytes
	Zipped    bool
	Signed    time.Time // by the clock that the signature is made with
}

// Server is what the SDK is pointed at.
type Server struct {
	*httptest.Server
	// Env is the environment with which the SDK has credentials, as NAME=value, for
	// other processes.
	Env []string

	tb testing.TB

	// guarded by mu
	mu      sync.Mutex
	refusal []http.HandlerFunc // of the next requests
	asked   int
	calls   []Call
}

// New starts a server that runs until the test ends, and sets the environment such
// that the SDK has credentials.
func New(t *testing.T) *Server {
	s := &Server{tb: t}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	s.Env = []string{
		"AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=secret",
		"AWS_CONFIG_FILE=" + t.TempDir() + "/none", "AWS_SHARED_CREDENTIALS_FILE=" + t.TempDir() + "/none",
	}
	for _, e := range s.Env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	return s
}

// Refuse has the next requests answered by these, one each.
func (s *Server) Refuse(next ...http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = next
}

// Asked is how many requests came, refused ones included.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Calls returns the calls of an operation so far.
func (s *Server) Calls(operation string) (list []Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c.Operation == operation {
			list = append(list, c)
		}
	}
	return list
}

// Data returns all that came with PutMetricData.
func (s *Server) Data() (list []map[string]any) {
	for _, c := range s.Calls("PutMetricData") {
		data, _ := c.Input["MetricData"].([]any)
		for _, d := range data {
			datum, _ := d.(map[string]any)
			list = append(list, datum)
		}
	}
	return list
}

// Values returns the values of a metric, and how often each came.
func (s *Server) Values(metric string) map[float64]float64 {
	n := map[float64]float64{}
	for _, d := range s.Data() {
		if d["MetricName"] != metric {
			continue
		}
		values, isSet := d["Values"].([]any)
		if !isSet {
			v, _ := d["Value"].(float64)
			n[v]++
			continue
		}
		counts, _ := d["Counts"].([]any)
		if len(values) > 150 || len(values) != len(counts) {
			s.tb.Errorf("%s has %d values and %d counts", metric, len(values), len(counts))
			continue
		}
		for i := range values {
			v, _ := values[i].(float64)
			count, _ := counts[i].(float64)
			n[v] += count
		}
	}
	return n
}

// Sum adds the values of a metric up.
func (s *Server) Sum(metric string) (sum, count float64) {
	for v, n := range s.Values(metric) {
		sum += v * n
		count += n
	}
	return sum, count
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := s.refuses(); f != nil {
		f(w, r)
		return
	}
	call, err := decode(r)
	if err != nil {
		s.tb.Errorf("%s %v: %v", r.URL.Path, r.Header, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	head(w)
	_, _ = w.Write(cbor.Encode(cbor.Map{}))
}

// refuses counts a request, and returns what answers it in place of ServeHTTP.
func (s *Server) refuses() http.HandlerFunc {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if len(s.refusal) == 0 {
		return nil
	}
	f := s.refusal[0]
	s.refusal = s.refusal[1:]
	return f
}

func decode(r *http.Request) (Call, error) {
	c := Call{Operation: path.Base(r.URL.Path), Zipped: r.Header.Get("Content-Encoding") == "gzip"}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		return c, fmt.Errorf("not signed: %q", r.Header.Get("Authorization"))
	}
	var err error
	if c.Signed, err = time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date")); err != nil {
		return c, err
	}
	body := io.Reader(r.Body)
	if c.Zipped {
		z, err := gzip.NewReader(body)
		if err != nil {
			return c, err
		}
		body = z
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return c, err
	}
	v, err := cbor.Decode(raw)
	if err != nil {
		return c, err
	}
	input, ok := plain(v).(map[string]any)
	if !ok {
		return c, fmt.Errorf("the input is a %T", v)
	}
	c.Input, c.Size = input, len(raw)
	return c, nil
}

// plain turns CBOR into Go's own types.
func plain(v cbor.Value) any {
	switch v := v.(type) {
	case cbor.Map:
		m := map[string]any{}
		for k, e := range v {
			m[k] = plain(e)
		}
		return m
	case cbor.List:
		list := []any{}
		for _, e := range v {
			list = append(list, plain(e))
		}
		return list
	case cbor.String:
		return string(v)
	case cbor.Bool:
		return bool(v)
	case *cbor.Tag:
		return plain(v.Value)
	default:
		f, err := cbor.AsFloat64(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return f
	}
}

// Error answers with an error of AWS.
func Error(status int, code string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		head(w)
		w.WriteHeader(status)
		_, _ = w.Write(cbor.Encode(cbor.Map{"__type": cbor.String("com.amazonaws.cloudwatch#" + code), "message": cbor.String("refused")}))
	}
}

func head(w http.ResponseWriter) {
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.Header().Set("Content-Type", "application/cbor")
}
