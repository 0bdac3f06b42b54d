package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func startBroker(t *testing.T, dir string) *Broker {
	t.Helper()
	b, err := StartBroker(BrokerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func client(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Addr()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// values reads n records, and commits them when the client is in a group.
func values(t *testing.T, cl *kgo.Client, n int) (got []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for len(got) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if group, _ := cl.GroupMetadata(); group != "" {
		if err := cl.CommitUncommittedOffsets(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func TestBrokerRestart(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir)
	addr := b.Addr()
	if host, _, err := net.SplitHostPort(addr); err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("it listens on %s, want loopback", addr)
	}
	cl := client(t, b)
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "unknown", Value: []byte("x")}).FirstErr(); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("producing to a topic that is not there: %v", err)
	}
	compact := "compact"
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 2, 1, map[string]*string{"cleanup.policy": &compact}, "t"); err != nil {
		t.Fatal(err)
	}
	produce := func(cl *kgo.Client, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			v := fmt.Sprint(i)
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Key: []byte(v), Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce(cl, 0, 10)
	member := client(t, b, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit())
	values(t, member, 10)
	member.Close() // else it would come back and share the partitions
	if _, err := StartBroker(BrokerConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second broker in the folder: error %v", err)
	}
	b.Close()
	b.Close()

	b = startBroker(t, dir)
	if b.Addr() != addr {
		t.Errorf("the address changed over a restart: %s, %s", addr, b.Addr())
	}
	cl = client(t, b)
	produce(cl, 10, 15)
	if got := values(t, client(t, b, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 15); len(got) != 15 {
		t.Errorf("it holds %v, want 0 to 14", got)
	}
	// The group goes on where it was.
	got := values(t, client(t, b, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit()), 5)
	for _, v := range got {
		if len(v) != 2 {
			t.Errorf("after a restart the group got %v, want 10 to 14", got)
			break
		}
	}
	topics, err := kadm.NewClient(cl).DescribeTopicConfigs(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range topics[0].Configs {
		if c.Key == "cleanup.policy" && c.MaybeValue() != "compact" {
			t.Errorf("after a restart cleanup.policy is %q", c.MaybeValue())
		}
	}
}

// TestBrokerPortTaken gives the kept port to somebody else in between.
func TestBrokerPortTaken(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir)
	b.Close()
	l, err := net.Listen("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if again := startBroker(t, dir); again.Addr() == l.Addr().String() {
		t.Errorf("it claims the taken address %s", again.Addr())
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	if _, err := StartBroker(BrokerConfig{Dir: t.TempDir(), Port: number}); err == nil {
		t.Error("a chosen port that is taken was no error")
	}
}
