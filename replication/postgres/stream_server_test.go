package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cdc/embedded"
	"cdc/secret"
)

// privateServer starts a server of the test's own, with these settings
// (name, value, name, value …).
func privateServer(t *testing.T, settings ...string) *embedded.Postgres {
	t.Helper()
	programs, err := embedded.FindPostgres(t.Context(), embedded.FetchConfig{})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "cdc") // short enough for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // the server may run as another user
		t.Fatal(err)
	}
	set := map[string]string{}
	for i := 0; i < len(settings); i += 2 {
		set[settings[i]] = settings[i+1]
	}
	p, err := embedded.StartPostgres(t.Context(), embedded.PostgresConfig{Programs: programs, Dir: filepath.Join(dir, "pg"), Settings: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestServerRestart streams over a unix socket from a server that is stopped in
// the ordinary way, which waits for the consumer's acknowledgement, and killed.
func TestServerRestart(t *testing.T) {
	server := privateServer(t)
	db := openTestDB(t, server.SocketURL("postgres"))
	db.exec(loadTable)
	s := mustOpen(t, db.stream("l"))
	r := &tape{t: t, s: s, ack: true}
	again := func() *testDB { return openTestDB(t, server.SocketURL("postgres")) }

	db.exec(`INSERT INTO l VALUES (1, 0, 'a')`)
	db.exec(`INSERT INTO l VALUES (2, 0, 'b')`)
	r.until(func() bool { return len(r.rows) == 2 })
	ctx, cancel := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	wg.Go(func() { // the consumer: it acknowledges what it gets
		for {
			b, err := s.Next(ctx)
			if err != nil {
				return
			}
			if b.Position != "" {
				s.Ack(b.Position)
			}
			b.Release()
		}
	})
	began := time.Now()
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the server needed %s to stop: it waited for the consumer", took)
	}
	cancel()
	wg.Wait()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	again().exec(`INSERT INTO l VALUES (3, 0, 'c')`)
	r.until(func() bool { return len(r.rows) == 3 })
	again().exec(`INSERT INTO l VALUES (4, 0, 'd')`)
	server.Kill()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	again().exec(`INSERT INTO l VALUES (5, 0, 'e')`)
	r.until(func() bool { return len(r.rows) == 5 })
	for i, want := range []string{"a", "b", "c", "d", "e"} {
		if got := r.rows[i]; got != `0 insert l after tx=`+string(rune('1'+i))+` n=0 pad="`+want+`"` {
			t.Errorf("row %d: %s", i, got)
		}
	}
}

// proxy stands between the source and the server: it may speak TLS, and it may
// cut connections.
type proxy struct {
	t      *testing.T
	l      net.Listener
	target string
	tls    *tls.Config
	// budget is how many bytes from the server each connection may carry before
	// it is cut; 0 is no bound.
	budget atomic.Int64
	cuts   atomic.Int64
	wg     sync.WaitGroup
}

func newProxy(t *testing.T, target string, config *tls.Config) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, l: l, target: target, tls: config}
	p.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); p.wg.Wait() })
	return p
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	if p.tls != nil {
		if _, err := io.ReadFull(client, make([]byte, 8)); err != nil { // SSLRequest
			return
		}
		client.Write([]byte{'S'})
		client = tls.Server(client, p.tls)
		defer client.Close()
	}
	p.wg.Go(func() {
		io.Copy(server, client)
		server.(*net.TCPConn).CloseWrite()
	})
	if n := p.budget.Load(); n > 0 {
		if m, _ := io.CopyN(client, server, n); m == n {
			p.cuts.Add(1)
		}
		return
	}
	io.Copy(client, server)
	if c, ok := client.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

// url is the server's URL by way of the proxy.
func (p *proxy) url(server string, query url.Values) secret.String {
	u, err := url.Parse(server)
	if err != nil {
		p.t.Fatal(err)
	}
	u.Host = p.l.Addr().String()
	u.RawQuery = query.Encode()
	return secret.New(u.String())
}

func hostOf(t *testing.T, raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// certificate makes a self-signed certificate for 127.0.0.1 and returns it with
// the name of its file.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}

// TestTLS streams over TLS that is verified in full: a burst, which goes by the
// low-water mark, then single rows, which must not wait.
func TestTLS(t *testing.T) {
	db := newTestDB(t)
	db.exec(loadTable)
	config, ca := certificate(t)
	p := newProxy(t, hostOf(t, db.url), config)
	cfg := db.stream("l")
	cfg.URL = p.url(db.url, url.Values{"sslmode": {"verify-full"}, "sslrootcert": {ca}})
	s := mustOpen(t, cfg)
	ctx := testContext(t)
	got := &ledger{t: t, rows: map[int]int{}}
	next := func() {
		t.Helper()
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got.take(b)
		b.Release()
	}
	db.exec(`INSERT INTO l SELECT 1, g, repeat('x', 100) FROM generate_series(0, 29999) g`)
	for got.rows[1] < 30000 {
		next()
	}
	if low := lowWaterOf(s.stream.wire.conn); low == nil || !low.enabled {
		t.Error("the low-water mark is not in use below TLS")
	}
	for tx := 2; tx < 40; tx++ {
		db.exec(`INSERT INTO l VALUES ($1, 0, '')`, tx)
		for got.rows[tx] < 1 {
			next()
		}
	}
	// A message larger than every buffer.
	db.exec(`INSERT INTO l VALUES (40, 0, repeat('big', 1000000))`)
	for got.rows[40] < 1 {
		next()
	}
}

// TestCutConnection cuts the connection after so and so many bytes, in the
// middle of whatever that is.
func TestCutConnection(t *testing.T) {
	db := newTestDB(t)
	db.exec(loadTable)
	p := newProxy(t, hostOf(t, db.url), nil)
	cfg := db.stream("l")
	cfg.URL = p.url(db.url, url.Values{"sslmode": {"disable"}})
	cfg.BatchBytes = 8 << 10
	s := mustOpen(t, cfg)
	ctx := testContext(t)
	sizes, err := load(ctx, db, 1, 120)
	if err != nil {
		t.Fatal(err)
	}
	p.budget.Store(30_011)
	got := &ledger{t: t, rows: map[int]int{}}
	for have, total := 0, sum(sizes); have < total; {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got.take(b)
		have += len(b.Changes)
		b.Release()
	}
	p.budget.Store(0)
	if p.cuts.Load() < 5 {
		t.Errorf("%d cuts", p.cuts.Load())
	}
	for tx, n := range sizes {
		if got.rows[tx] != n {
			t.Errorf("transaction %d has %d rows, want %d", tx, got.rows[tx], n)
		}
	}
}

func sum(m map[int]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
