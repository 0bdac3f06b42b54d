// Package tlsfiles reads the files of TLS settings, for Kafka and for databases
// alike.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Add reads the PEM files, "" for none, into c: the certificates of authorities,
// which take the place of the system's, and the client's own chain and key.
func Add(c *tls.Config, ca, cert, key string) error {
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("read tls ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read tls ca: no PEM certificate in %s", ca)
		}
	}
	if (cert == "") != (key == "") {
		return errors.New("read tls cert: certificate and key are needed both or neither")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("read tls cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return nil
}
