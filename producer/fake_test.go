package producer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cdc/kafka"
	"cdc/mapping"
	"cdc/replication"
	"cdc/secret"
)

// The tests in this file use kfake: each needs a broker that fails in a way
// that a real one cannot be made to, or with credentials of its own.

func kgoRecord(key, value []byte) *kgo.Record {
	return &kgo.Record{Key: key, Value: value, Partition: hashed}
}

func fake(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// openFake makes a Producer on a fake cluster. Its Close may fail: the cluster
// may be gone.
func openFake(t *testing.T, addrs []string, change func(*Config)) *Producer {
	t.Helper()
	conf := Config{Kafka: kafka.Config{Brokers: addrs}, Topics: TopicConfig{Create: true, Partitions: 1}}
	if change != nil {
		change(&conf)
	}
	p, err := New(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

// start produces without waiting; the channel gets what done gets, each time.
func start(ctx context.Context, p *Producer, list ...mapping.Record) chan error {
	acked := make(chan error, 10)
	p.Produce(ctx, &mapping.Records{List: list}, func(err error) { acked <- err })
	return acked
}

func await(t *testing.T, acked chan error) error {
	t.Helper()
	select {
	case err := <-acked:
		return err
	case <-time.After(2 * time.Minute):
		t.Fatal("done was not called")
		return nil
	}
}

func TestDoneOnceWithTheFirstError(t *testing.T) {
	c := fake(t)
	p := openFake(t, c.ListenAddrs(), nil)
	if err := produce(t, p, record("a", "1", "x")); err != nil {
		t.Fatal(err)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "a", Err: kerr.TopicAuthorizationFailed})
	acked := start(t.Context(), p, record("a", "1", "x"), record("b", "2", "y"), record("a", "3", "z"))
	err := await(t, acked)
	if !replication.IsRefusal(err) || !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "Write on topic a") {
		t.Fatalf("got %v", err)
	}
	// Nothing goes on past the gap.
	if again := produce(t, p, record("b", "4", "y")); !errors.Is(again, kerr.TopicAuthorizationFailed) {
		t.Fatalf("after an error: %v", again)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-acked:
		t.Fatalf("done was called twice, with %v", err)
	default:
	}
	if err := produce(t, p, record("b", "5", "y")); !errors.Is(err, errClosed) {
		t.Fatalf("after Close: %v", err)
	}
}

func TestRetriableErrorsAreRetried(t *testing.T) {
	c := fake(t)
	p := openFake(t, c.ListenAddrs(), nil)
	f := c.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 2},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: 1},
		// A broker that has just restarted; kgo by itself gives up after 4.
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnknownTopicOrPartition, Count: 8},
	)
	if err := produce(t, p, record("a", "1", "x"), record("a", "1", "y")); err != nil {
		t.Fatal(err)
	}
	if f.Hits() != 11 {
		t.Fatalf("%d faults hit, want 11", f.Hits())
	}
	got := read(t, c.ListenAddrs(), "a", 2)
	if len(got) != 2 || string(got[0].Value) != "x" || string(got[1].Value) != "y" {
		t.Fatalf("got %d records", len(got))
	}
}

// A broker that lost what it had acknowledged answers so; kgo would go on.
func TestLostRecordsStop(t *testing.T) {
	c := fake(t)
	p := openFake(t, c.ListenAddrs(), nil)
	if err := produce(t, p, record("a", "1", "x")); err != nil {
		t.Fatal(err)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.OutOfOrderSequenceNumber})
	if err := produce(t, p, record("a", "1", "y")); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
		t.Fatalf("got %v", err)
	}
}

func TestTooLargeForTheBrokerNamesTheRow(t *testing.T) {
	c := fake(t)
	p := openFake(t, c.ListenAddrs(), nil)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge})
	err := produce(t, p, record("a", "7", "x"))
	row, ok := errors.AsType[*mapping.RowError](err)
	if !ok || row.Table != "public.orders" || row.Key != "id=7" || row.Tx != "742" || row.Commit != "0/16B3748" {
		t.Fatalf("got %v", err)
	}
}

// hold makes the cluster keep back its answers to Produce until the returned
// function is called.
func hold(t *testing.T, c *kfake.Cluster) (release func(), asked chan struct{}) {
	free := make(chan struct{})
	release = sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	asked = make(chan struct{}, 100)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked <- struct{}{}
		c.SleepControl(func() { <-free })
		return nil, nil, false
	})
	return release, asked
}

func TestFullBufferBlocks(t *testing.T) {
	c := fake(t)
	p := openFake(t, c.ListenAddrs(), func(c *Config) { c.BufferBytes = 1000; c.Linger = time.Hour })
	if err := p.Ensure(t.Context(), []Topic{{Name: "a", Keyed: true}}); err != nil {
		t.Fatal(err)
	}
	release, asked := hold(t, c)
	first := start(t.Context(), p, record("a", "1", "x"), record("a", "2", "x"))
	<-asked
	// The second does not fit beside the first: its ctx ends the waiting.
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	second := make(chan chan error)
	go func() { second <- start(ctx, p, record("a", "3", "x")) }()
	select {
	case <-second:
		t.Fatal("Produce did not wait for the buffer")
	case <-time.After(50 * time.Millisecond): // nothing to wait for: this is about what does not happen
	}
	cancel(stop)
	if err := await(t, <-second); !errors.Is(err, stop) {
		t.Fatalf("got %v", err)
	}
	// That was no failure of the Producer, and the third goes once there is room.
	third := make(chan chan error)
	go func() { third <- start(t.Context(), p, record("a", "4", "x")) }()
	release()
	if err := await(t, first); err != nil {
		t.Fatal(err)
	}
	if err := await(t, <-third); err != nil {
		t.Fatal(err)
	}
	if n := p.buffer.bytes(); n != 0 {
		t.Fatalf("%d bytes are still taken", n)
	}
}

func TestEndOfContextKeepsWhatIsUnderWay(t *testing.T) {
	c := fake(t)
	p := openFake(t, c.ListenAddrs(), nil)
	if err := p.Ensure(t.Context(), []Topic{{Name: "a", Keyed: true}}); err != nil {
		t.Fatal(err)
	}
	release, asked := hold(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	acked := start(ctx, p, record("a", "1", "x"))
	<-asked
	cancel()
	release()
	if err := await(t, acked); err != nil {
		t.Fatal(err)
	}
}

func TestCloseFailsWhatCannotBeSent(t *testing.T) {
	c := fake(t)
	p := openFake(t, c.ListenAddrs(), nil)
	if err := p.Ensure(t.Context(), []Topic{{Name: "a", Keyed: true}}); err != nil {
		t.Fatal(err)
	}
	_, asked := hold(t, c)
	acked := start(t.Context(), p, record("a", "1", "x"))
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("close: %v", err)
	}
	if err := await(t, acked); !errors.Is(err, errClosed) {
		t.Fatalf("done: %v", err)
	}
}

// TestBrokerRestart closes the cluster while records are under way and opens it
// on its data again: every record is there once, in order.
func TestBrokerRestart(t *testing.T) {
	dir := t.TempDir()
	first, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	addrs := first.ListenAddrs()
	_, port, _ := net.SplitHostPort(addrs[0])
	var number int
	fmt.Sscan(port, &number)
	p := openFake(t, addrs, func(c *Config) { c.Topics.Partitions = 2 })
	const calls, rows = 200, 10
	done := make(chan error, calls)
	for i := range calls {
		if i == calls/2 {
			first.Close()
		}
		if i == calls*3/4 {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.Ports(number))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
		}
		var list []mapping.Record
		for j := range rows {
			list = append(list, record("a", fmt.Sprintf("k%d", j), fmt.Sprint(i)))
		}
		p.Produce(t.Context(), &mapping.Records{List: list}, func(err error) { done <- err })
	}
	for range calls {
		if err := await(t, done); err != nil {
			t.Fatal(err)
		}
	}
	next := map[string]int{}
	for _, r := range read(t, addrs, "a", calls*rows) {
		if want := fmt.Sprint(next[string(r.Key)]); string(r.Value) != want {
			t.Fatalf("key %s: %s, want %s", r.Key, r.Value, want)
		}
		next[string(r.Key)]++
	}
}

// TestGathering: with much coming in, calls share requests; alone they go at once.
func TestGathering(t *testing.T) {
	c := fake(t)
	requests := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
	p := openFake(t, c.ListenAddrs(), func(c *Config) { c.Linger = time.Hour })
	// With a linger of an hour, what is not sent at once is sent when there is
	// enough of it, or never. Time stands still, so the bucket does not leak.
	now := time.Now()
	p.gather.now = func() time.Time { return now }
	for range 20 {
		if err := produce(t, p, record("a", "1", "small")); err != nil {
			t.Fatal(err)
		}
	}
	before := requests.Hits()
	big := strings.Repeat("x", 10_000)
	var acked []chan error
	for range 200 {
		acked = append(acked, start(t.Context(), p, record("a", "1", big)))
	}
	p.mu.Lock()
	if len(p.gather.calls) == 0 || p.gather.bytes >= enough {
		t.Errorf("%d calls of %d bytes are held back", len(p.gather.calls), p.gather.bytes)
	}
	p.gather.handOver()
	p.mu.Unlock()
	for _, a := range acked {
		if err := await(t, a); err != nil {
			t.Fatal(err)
		}
	}
	if n := requests.Hits() - before; n > 30 {
		t.Errorf("200 calls with 2 MB made %d requests", n)
	}
}

func TestLingerEnds(t *testing.T) {
	c := fake(t)
	p := openFake(t, c.ListenAddrs(), func(c *Config) { c.Linger = 5 * time.Millisecond })
	if err := p.Ensure(t.Context(), []Topic{{Name: "a", Keyed: true}}); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.gather.level, p.gather.last = full, time.Now()
	p.mu.Unlock()
	for range 50 {
		if err := produce(t, p, record("a", "1", strings.Repeat("x", 60_000))); err != nil {
			t.Fatal(err)
		}
	}
}

func certificate(t *testing.T) (server tls.Certificate, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca
}

func TestTLSAndSASL(t *testing.T) {
	cert, ca := certificate(t)
	for mechanism, method := range map[string]string{kafka.Plain: "PLAIN", kafka.ScramSHA256: "SCRAM-SHA-256", kafka.ScramSHA512: "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			c := fake(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}), kfake.EnableSASL(), kfake.Superuser(method, "cdc", "right"))
			with := func(password, ca string) func(*Config) {
				return func(c *Config) {
					c.Kafka.TLS = &kafka.TLSConfig{CAFile: ca}
					c.Kafka.SASL = &kafka.SASLConfig{Mechanism: mechanism, Username: "cdc", Password: secret.New(password)}
				}
			}
			if err := produce(t, openFake(t, c.ListenAddrs(), with("right", ca)), record("a", "1", "x")); err != nil {
				t.Fatal(err)
			}
			untrusted := openFake(t, c.ListenAddrs(), with("right", ""))
			if err := untrusted.Ensure(t.Context(), []Topic{{Name: "a"}}); !replication.IsRefusal(err) || !strings.Contains(err.Error(), "kafka.tls.ca") {
				t.Errorf("untrusted certificate: %v", err)
			}
		})
	}
}

func TestRightsAreNamed(t *testing.T) {
	allow := func(op kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "a", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
	}
	c := fake(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin"),
		kfake.User("PLAIN", "cdc", "cdc", allow(kmsg.ACLOperationDescribe)), kfake.SeedTopics(1, "a"))
	conf := Config{Kafka: kafka.Config{Brokers: c.ListenAddrs(), SASL: &kafka.SASLConfig{Mechanism: kafka.Plain, Username: "cdc", Password: secret.New("cdc")}}, Topics: TopicConfig{Create: true}}
	p := openFake(t, c.ListenAddrs(), func(c *Config) { *c = conf })
	if err := produce(t, p, record("a", "1", "x")); !replication.IsRefusal(err) || !strings.Contains(err.Error(), "grant the Kafka user Write on topic a") {
		t.Errorf("write: %v", err)
	}
	if err := p.Ensure(t.Context(), []Topic{{Name: "b"}}); !replication.IsRefusal(err) || !strings.Contains(err.Error(), "topic b") {
		t.Errorf("create: %v", err)
	}
	found := Check(t.Context(), conf, []Topic{{Name: "a", Keyed: true}})
	if !finds(found, replication.LevelError, "kafka: topic a", "missing rights: WRITE") {
		t.Errorf("check: %+v", found)
	}
	if !finds(found, replication.LevelWarning, "kafka: sasl", "plain text") {
		t.Errorf("check: %+v", found)
	}
}

func finds(list []replication.Finding, l replication.Level, subject, problem string) bool {
	for _, f := range list {
		if f.Level == l && f.Subject == subject && strings.Contains(f.Problem, problem) && (l == replication.LevelOK) == (f.Remedy == "") {
			return true
		}
	}
	return false
}
