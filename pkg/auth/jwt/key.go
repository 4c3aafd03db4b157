package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"github.com/golang-jwt/jwt/v5"
)

// key verifies tokens.
type key struct {
	id       string              // "" for one of a file: it fits any id
	alg      string              // "" if the key may be used with every algorithm of its kind
	material jwt.VerificationKey // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

const minRSA = 2048 // bits

// fits reports whether the key may verify a token with that algorithm and key id,
// which is "" when the token names none. A key has one kind, whatever the token
// says: the public key of RS256 is never the secret of HS256.
func (k key) fits(alg, id string) bool {
	if k.alg != "" && k.alg != alg || id != "" && k.id != "" && k.id != id {
		return false
	}
	switch m := k.material.(type) {
	case []byte:
		return alg[:2] == "HS"
	case *rsa.PublicKey:
		return alg[:2] == "RS" || alg[:2] == "PS"
	case *ecdsa.PublicKey:
		return alg == map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}[m.Curve]
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// parsePEM reads public keys and certificates.
func parsePEM(text []byte) (keys []key, err error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		var material any
		switch block.Type {
		case "PUBLIC KEY":
			material, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			material, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				material = c.PublicKey
			}
		default:
			err = fmt.Errorf("a block of type %q, want PUBLIC KEY or CERTIFICATE", block.Type)
		}
		if err == nil {
			err = checkMaterial(material)
		}
		if err != nil {
			return nil, fmt.Errorf("jwt.Config.Keys: %w", err)
		}
		keys = append(keys, key{material: material})
	}
	if len(text) > 0 && len(keys) == 0 {
		return nil, errors.New("jwt.Config.Keys: no PEM block in it")
	}
	return keys, nil
}

// checkMaterial reports why a public key cannot be used.
func checkMaterial(material any) error {
	switch m := material.(type) {
	case *rsa.PublicKey:
		if m.N.BitLen() < minRSA {
			return fmt.Errorf("an RSA key of %d bits; want %d or more", m.N.BitLen(), minRSA)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return fmt.Errorf("a key of type %T; want RSA, ECDSA or Ed25519", material)
	}
	return nil
}

// jwk is one key of a JSON Web Key Set (RFC 7517, 7518 and 8037).
type jwk struct {
	Type  string `json:"kty"`
	ID    string `json:"kid"`
	Alg   string `json:"alg"`
	Use   string `json:"use"`
	Curve string `json:"crv"`
	N, E  string
	X, Y  string
}

// maxKeys is how many keys a set may have: a token without a key id is tried with
// all that fit.
const maxKeys = 32

// parseKeySet reads a JSON Web Key Set. Keys that are not for signatures, or of
// another kind than we know, are left out; secrets among them.
func parseKeySet(text []byte) ([]key, error) {
	var set struct{ Keys []jwk }
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is not a JSON Web Key Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has %d keys; at most %d are taken", len(set.Keys), maxKeys)
	}
	var keys []key
	for _, j := range set.Keys {
		if j.Use != "" && j.Use != "sig" {
			continue
		}
		if material, err := j.material(); err == nil && checkMaterial(material) == nil {
			keys = append(keys, key{id: j.ID, alg: j.Alg, material: material})
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no key that can be used")
	}
	return keys, nil
}

var errKind = errors.New("unknown kind of key")

// material returns the public key.
func (j jwk) material() (any, error) {
	n, err1 := base64.RawURLEncoding.DecodeString(j.N)
	e, err2 := base64.RawURLEncoding.DecodeString(j.E)
	x, err3 := base64.RawURLEncoding.DecodeString(j.X)
	y, err4 := base64.RawURLEncoding.DecodeString(j.Y)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	switch {
	case j.Type == "RSA":
		exponent := new(big.Int).SetBytes(e)
		if len(n) > 1024 || !exponent.IsInt64() || exponent.Int64() < 3 || exponent.Int64() > 1<<31-1 || exponent.Bit(0) == 0 {
			return nil, errors.New("odd RSA key")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
	case j.Type == "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[j.Curve]
		if curve == nil {
			return nil, errKind
		}
		size := (curve.Params().BitSize + 7) / 8
		if len(x) != size || len(y) != size {
			return nil, errors.New("a point of another curve")
		}
		return ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	case j.Type == "OKP" && j.Curve == "Ed25519" && len(x) == ed25519.PublicKeySize:
		return ed25519.PublicKey(x), nil
	default:
		return nil, errKind
	}
}
