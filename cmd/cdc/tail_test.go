package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"cdc/internal/servicetest"
)

// tailed runs the command and returns its lines, decoded.
func runTail(t *testing.T, ctx context.Context, args ...string) (lines []map[string]any, code int, said string) {
	t.Helper()
	var stdout, stderr buffer
	code = execute(&app{ctx: ctx, stdout: &stdout, stderr: &stderr}, append([]string{"tail"}, args...))
	for line := range strings.Lines(stdout.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, v)
	}
	return lines, code, stderr.String()
}

// topic makes a topic with 3 records in 2 partitions on the real Kafka, with
// schemas in the real registry, encoded by another library than ours.
func topic(t *testing.T) (name string, client *kgo.Client, flags []string) {
	t.Helper()
	name = servicetest.Name(t, "tail")
	client, err := kgo.NewClient(kgo.SeedBrokers(servicetest.Kafka(t)...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	admin := kadm.NewClient(client)
	servicetest.MakeTopic(t, admin, 2, nil, name)
	t.Cleanup(func() {
		if _, err := admin.DeleteTopics(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	registry, err := sr.NewClient(sr.URLs(servicetest.Registry(t)))
	if err != nil {
		t.Fatal(err)
	}
	encode := func(subject, schema string, v any) []byte {
		t.Helper()
		s, err := registry.CreateSchema(t.Context(), name+subject, sr.Schema{Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		head, err := new(sr.ConfluentHeader).AppendEncode(nil, s.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := avro.MustParse(schema).AppendEncode(head, v)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	key := encode("-key", `{"type":"record","name":"K`+name+`","fields":[{"name":"id","type":"long"}]}`, map[string]any{"id": int64(7)})
	value := encode("-value", `{"type":"record","name":"V`+name+`","fields":[{"name":"id","type":"long"},
		{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"note","type":["null","string"]}]}`,
		map[string]any{"id": int64(7), "at": time.Date(2026, 2, 3, 4, 5, 6, 7000, time.UTC), "note": "a <b> & \"c\""})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, r := range []*kgo.Record{
		{Topic: name, Partition: 0, Key: key, Value: value, Timestamp: at, Headers: []kgo.RecordHeader{{Key: "cdc.op", Value: []byte("insert")}}},
		{Topic: name, Partition: 0, Key: key, Value: nil, Timestamp: at},
		{Topic: name, Partition: 1, Key: []byte("plain"), Value: []byte{0, 0x7f, 0, 0, 1, 2}, Timestamp: at},
	} {
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return name, client, []string{name, "--brokers", servicetest.Kafka(t)[0], "--registry", servicetest.Registry(t)}
}

func TestTail(t *testing.T) {
	name, _, flags := topic(t)
	lines, code, said := runTail(t, t.Context(), flags...)
	if code != exitOK || len(lines) != 3 {
		t.Fatalf("exit code %d, %d lines: %s", code, len(lines), said)
	}
	byPlace := map[string]map[string]any{}
	for _, l := range lines {
		byPlace[fmt.Sprint(l["partition"], "@", l["offset"])] = l
	}
	problem, _ := byPlace["1@0"]["problem"].(string)
	if !strings.Contains(problem, "value: ") {
		t.Errorf("a value whose schema nobody knows has the problem %q", problem)
	}
	delete(byPlace["1@0"], "problem")
	row := func(partition, offset float64, key, value any, headers map[string]any) map[string]any {
		return map[string]any{
			"topic": name, "partition": partition, "offset": offset, "timestamp": "2026-01-02T03:04:05Z",
			"key": key, "value": value, "headers": headers,
		}
	}
	id := map[string]any{"id": 7.0}
	want := map[string]map[string]any{
		"0@0": row(0, 0, id, map[string]any{"id": 7.0, "at": "2026-02-03T04:05:06.000007Z", "note": "a <b> & \"c\""}, map[string]any{"cdc.op": "insert"}),
		"0@1": row(0, 1, id, nil, map[string]any{}),
		"1@0": row(1, 0, "plain", "AH8AAAEC", map[string]any{}), // base64
	}
	if diff := cmp.Diff(want, byPlace); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTailPlaces(t *testing.T) {
	_, _, flags := topic(t)
	for from, want := range map[string]int{"beginning": 3, "end": 0, "1": 1, "-1": 2, "0": 3, "99": 0} {
		lines, code, said := runTail(t, t.Context(), append(flags, "--from="+from)...)
		if code != exitOK || len(lines) != want {
			t.Errorf("--from=%s: exit code %d, %d lines, want %d: %s", from, code, len(lines), want, said)
		}
	}
	if lines, code, _ := runTail(t, t.Context(), append(flags, "--count", "1")...); code != exitOK || len(lines) != 1 {
		t.Errorf("--count 1: exit code %d, %d lines", code, len(lines))
	}
	for _, bad := range [][]string{append(flags, "--from=middle"), append(flags, "--count=-1")} {
		if _, code, _ := runTail(t, t.Context(), bad...); code != exitUsage {
			t.Errorf("%v: exit code %d, want %d", bad, code, exitUsage)
		}
	}
	flags[0] = servicetest.Name(t, "absent")
	if _, code, said := runTail(t, t.Context(), flags...); code != exitFailed || !strings.Contains(said, "no such topic") {
		t.Errorf("a topic that is not there: exit code %d: %s", code, said)
	}
}

// TestTailFollow reads what comes later, until a signal.
func TestTailFollow(t *testing.T) {
	name, client, flags := topic(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var stdout, stderr buffer
	code := make(chan int, 1)
	go func() {
		code <- execute(&app{ctx: ctx, stdout: &stdout, stderr: &stderr}, append([]string{"tail", "--follow"}, flags...))
	}()
	within(t, 3*time.Minute, func() bool { return strings.Count(stdout.String(), "\n") == 3 })
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: name, Partition: 1, Value: []byte("later")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	within(t, 3*time.Minute, func() bool { return strings.Contains(stdout.String(), `"value":"later"`) })
	stop()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d: %s", got, &stderr)
	}
}

// TestTailFile takes the addresses from a configuration file.
func TestTailFile(t *testing.T) {
	name, _, _ := topic(t)
	path := filepath.Join(t.TempDir(), "cdc.yml")
	text := fmt.Sprintf("name: t\nkafka: {brokers: [%q]}\nregistry: {url: %q}\n"+
		"sinks: [{name: s, topics: [x], postgres: {url: 'postgres://nobody@127.0.0.1/nothing'}}]\n", servicetest.Kafka(t)[0], servicetest.Registry(t))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, code, said := runTail(t, t.Context(), name, "--config", path)
	if code != exitOK || len(lines) != 3 {
		t.Errorf("exit code %d, %d lines: %s", code, len(lines), said)
	}
	if _, code, said := runTail(t, t.Context(), name, "--config", path+".not"); code != exitUsage || !strings.Contains(said, "--brokers") {
		t.Errorf("without a file: exit code %d: %s", code, said)
	}
}
