package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writeCertificate writes a certificate with a serial number, and its key.
func writeCertificate(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"gw.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	writeChanged(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), serial)
	writeChanged(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), serial)
}

// writeChanged writes a file with a time of change of its own.
func writeChanged(t *testing.T, name string, b []byte, version int64) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_700_000_000+version, 0)
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestCertificateReload(t *testing.T) {
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writeCertificate(t, cert, key, 1)
	c, err := newCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serial := func(version uint16) (int64, error) {
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = tls.Server(server, c.config()).Handshake()
			_ = server.Close()
		}()
		conn := tls.Client(client, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version})
		err := conn.Handshake()
		_ = client.Close()
		<-done
		if err != nil {
			return 0, err
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
	}
	want := func(n int64) {
		t.Helper()
		if got, err := serial(tls.VersionTLS13); got != n || err != nil {
			t.Errorf("the certificate is %d, %v; want %d", got, err, n)
		}
	}
	want(1)
	if _, err := serial(tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	writeCertificate(t, cert, key, 2)
	c.check()
	want(2)
	writeChanged(t, cert, []byte("broken"), 3)
	c.check()
	want(2)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	c.check()
	want(2)
	writeCertificate(t, cert, key, 4)
	c.check()
	want(4)
}

func TestCertificateFlags(t *testing.T) {
	if c, err := newCertificate("", "", nil); c != nil || err != nil {
		t.Errorf("without files: %v, %v", c, err)
	}
	for _, files := range [][2]string{{"cert.pem", ""}, {"", "key.pem"}, {"missing.pem", "missing.pem"}} {
		if _, err := newCertificate(files[0], files[1], nil); err == nil {
			t.Errorf("%q: no error", files)
		}
	}
}
