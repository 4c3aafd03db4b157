package redisbus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// certify writes a certificate with its key, signed by itself, for "redis.test".
func certify(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"redis.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certFile, keyFile
}

func TestTLS(t *testing.T) {
	cert, key := certify(t, "server")
	clientCert, clientKey := certify(t, "client")
	both := filepath.Join(t.TempDir(), "ca.pem")
	one, err := os.ReadFile(cert)
	must(t, err)
	two, err := os.ReadFile(clientCert)
	must(t, err)
	must(t, os.WriteFile(both, append(one, two...), 0o600))
	port, err := redistest.FreePort()
	must(t, err)
	redistest.Start(t, redistest.Config{Password: "s3cret", Args: []string{
		"--tls-port", fmt.Sprint(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", both,
	}})
	base := fmt.Sprintf("rediss://:s3cret@127.0.0.1:%d/?tls_cert=%s&tls_key=%s", port, clientCert, clientKey)

	b := start(t, calm(t, base+"&tls_server_name=redis.test&tls_ca="+cert))
	in, _ := subscribe(t, b, "ch")
	newOutbox(t, b, "ch").send("hello")
	eventually(t, "delivered", func() bool { return slices.Equal(in.all(), []string{"hello"}) })
	must(t, parse(t, base+"&tls_skip_verify=true").Reach(t.Context(), testLogger(t)))

	for _, tc := range []struct{ url, want string }{
		{base, "certificate"}, // neither trusted nor for this address
		{base + "&tls_ca=" + cert, "127.0.0.1"},
		{base + "&tls_server_name=redis.test&tls_ca=" + clientCert, "unknown authority"},
	} {
		err := parse(t, tc.url).Reach(t.Context(), testLogger(t)) // no deadline: it must not wait
		if err == nil || !contains(err, tc.want, "xxxxx@127.0.0.1") {
			t.Errorf("%s: got %v, want it to contain %q", tc.url, err, tc.want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	none := fmt.Sprintf("rediss://:s3cret@127.0.0.1:%d/?tls_skip_verify=true", port)
	if err := parse(t, none).Reach(ctx, testLogger(t)); err == nil {
		t.Error("the server took a client without certificate: this test does not test ours")
	}
}
