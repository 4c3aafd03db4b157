package hostile

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/test/cluster"
)

// What tokens are checked for.
const (
	issuer   = "https://issuer.example.com"
	audience = "boreas"
	secret   = "the secret of the tests, of 32 bytes and more"
	appPage  = "https://app.example.com"
	evilPage = "https://evil.example.net"
)

// world is what is attacked.
type world struct {
	redis *redistest.Server
	probe *cluster.Probe
	// open lets anonymous clients in, takes tickets and tokens, trusts the proxy
	// 127.0.0.1, compresses, and has short timeouts.
	open *cluster.Gateway
	// strict takes tokens only, cannot fetch its issuer's keys, and has limits.
	strict *cluster.Gateway
	// proxied gets the PROXY protocol from 127.0.0.1.
	proxied *cluster.Gateway

	signing   *rsa.PrivateKey // of tokens, known from a file and as "k1"
	other     *rsa.PrivateKey // nobody knows it
	publicPEM []byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{redis: redistest.Start(t, redistest.Config{})}
	for _, key := range []**rsa.PrivateKey{&w.signing, &w.other} {
		var err error
		if *key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(w.signing.Public())
	if err != nil {
		t.Fatal(err)
	}
	w.publicPEM = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	dir := t.TempDir()
	keyFile, secretFile := filepath.Join(dir, "key.pem"), filepath.Join(dir, "secret")
	for name, text := range map[string][]byte{keyFile: w.publicPEM, secretFile: []byte(secret)} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	jwks := httptest.NewServer(http.HandlerFunc(w.serveKeys))
	t.Cleanup(jwks.Close)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close() // nobody listens there any more

	w.probe, err = programs.StartProbe(t.Context(), "probe", w.redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, w.probe.Process) })
	tokens := []string{"--jwt-algorithms", "RS256,HS256", "--jwt-issuer", issuer, "--jwt-audience", audience, "--jwt-leeway=-1s", "--jwt-secret-file", secretFile}
	w.open = w.gateway(t, "open", append([]string{
		"--auth", "ticket,jwt,none", "--compression", "--jwt-key-files", keyFile, "--jwt-jwks-url", jwks.URL,
		"--allowed-origins", appPage + ",https://other.example.com",
		"--trusted-proxies", "127.0.0.1/32,10.0.0.0/8,fd00::/8",
		"--message-timeout", "2s", "--slow-consumer-timeout", "2s", "--close-timeout", "1s",
	}, tokens...)...)
	w.strict = w.gateway(t, "strict", append([]string{
		"--auth", "jwt", "--jwt-jwks-url", down.URL, "--trusted-proxies", "127.0.0.1/32",
		"--address-connections", "3", "--user-connections", "2", "--close-timeout", "1s",
		"--message-rate", "5:10", "--rate-grace", "1s",
	}, tokens...)...)
	w.proxied = w.gateway(t, "proxied", "--trusted-proxies", "127.0.0.1/32", "--proxy-protocol", "--close-timeout", "1s")
	for _, g := range w.gateways() { // routes become known a moment later
		w.awaitRoute(t, g)
	}
	return w
}

// serveKeys is the issuer's key set.
func (w *world) serveKeys(rw http.ResponseWriter, _ *http.Request) {
	encode := base64.RawURLEncoding.EncodeToString
	_ = json.NewEncoder(rw).Encode(map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256",
		"n": encode(w.signing.N.Bytes()), "e": encode(big.NewInt(int64(w.signing.E)).Bytes()),
	}}})
}

func (w *world) gateway(t *testing.T, name string, args ...string) *cluster.Gateway {
	t.Helper()
	g, err := programs.StartGateway(t.Context(), name, w.redis.URL(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, g.Process) })
	return g
}

func (w *world) gateways() []*cluster.Gateway {
	return []*cluster.Gateway{w.open, w.strict, w.proxied}
}

// end kills a process and shows its log if the test failed.
func end(t *testing.T, p *cluster.Process) {
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("log of %s:\n%s", p.Name, p.Log())
	}
}

// awaitRoute waits until a gateway knows the service.
func (w *world) awaitRoute(t *testing.T, g *cluster.Gateway) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for n := 1; ; n++ {
		c := w.enter(t, g, n)
		c.say(`{"path":"/echo","id":"ready","data":true}`)
		got := c.hear()
		_ = c.Close()
		if strings.Contains(got, `"data":true`) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s does not know the service: %s", g.Name, got)
		}
	}
}

// enter connects a client that a gateway lets in; n tells it from others.
func (w *world) enter(t *testing.T, g *cluster.Gateway, n int) *conn {
	t.Helper()
	switch c := dial(t, g, ""); g {
	case w.strict:
		c.upgrade("Authorization: Bearer "+w.hs(t, set("sub", fmt.Sprint("user-", n))), fmt.Sprintf("X-Forwarded-For: 198.51.100.%d", n%256))
		return c
	case w.proxied:
		c.write("PROXY TCP4 192.0.2.99 192.0.2.1 40000 80\r\n")
		fallthrough
	default:
		c.upgrade()
		return c
	}
}

// internal asks a gateway's internal listener.
func (w *world) internal(t *testing.T, g *cluster.Gateway, method, path, key, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.Internal+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// metric reads one series of a gateway, 0 if it is not there. The labels are as
// Prometheus writes them.
func (w *world) metric(t *testing.T, g *cluster.Gateway, series string) float64 {
	t.Helper()
	status, text := w.internal(t, g, http.MethodGet, "/metrics", internalKey, "")
	if status != http.StatusOK {
		t.Fatalf("/metrics answers %d: %s", status, text)
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("%s: %v", lines.Text(), err)
			}
			return n
		}
	}
	return 0
}

// awaitMetric waits until a series is at least so much.
func (w *world) awaitMetric(t *testing.T, g *cluster.Gateway, series string, least float64) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		got := w.metric(t, g, series)
		if got >= least {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s of %s is %v; want %v", series, g.Name, got, least)
		}
	}
}

// cpu is the CPU time that the gateways have used.
func (w *world) cpu(t *testing.T) (sum time.Duration) {
	t.Helper()
	for _, g := range w.gateways() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.PID()))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}
