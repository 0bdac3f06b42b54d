package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/config"
	"cdc/kafka"
	"cdc/mapping/avro"
)

type tailCmd struct {
	configFlag
	Topic    string   `arg:"" help:"The topic."`
	From     string   `default:"beginning" placeholder:"WHERE" help:"beginning, end, or an offset; --from=-10 counts from the end of each partition (${default})."`
	Count    int      `short:"n" placeholder:"N" help:"End after N records."`
	Follow   bool     `short:"f" help:"Wait for more at the end of the topic, until Ctrl-C."`
	Brokers  []string `placeholder:"HOST:PORT" help:"Brokers, instead of the configuration's."`
	Registry string   `placeholder:"URL" help:"Schema registry, instead of the configuration's."`
}

func (tailCmd) Help() string {
	return "Prints a topic's records as JSON, one a line: topic, partition, offset, timestamp, key, value, headers. Keys and values in\n" +
		"the schema registry's wire format are decoded by it; other text is printed as text, other bytes in base64.\n" +
		"With --brokers no configuration file is needed.\n\n" +
		"Examples:\n\n  cdc tail public.orders --follow\n  cdc tail public.orders --from=-10\n" +
		"  cdc tail public.orders --from end --follow --brokers localhost:9092 --registry http://localhost:8081"
}

func (c *tailCmd) Run(a *app) error {
	from, err := c.position()
	if err != nil {
		return usageError{err}
	}
	if c.Count < 0 {
		return usageError{errors.New("tail: --count is less than zero")}
	}
	cluster, registry, err := c.connections(a)
	if err != nil {
		return err
	}
	opts, err := cluster.Opts()
	if err != nil {
		return usageError{err}
	}
	// Control records tell that the end is reached where a transaction ends.
	client, err := kgo.NewClient(append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return usageError{err}
	}
	defer client.Close()
	t := &tail{topic: c.Topic, count: c.Count, follow: c.Follow, registry: registry, out: bufio.NewWriterSize(a.stdout, 64<<10)}
	err = t.run(a.ctx, client, from)
	if e := t.out.Flush(); err == nil {
		err = e
	}
	if err != nil && a.ctx.Err() == nil {
		return fmt.Errorf("tail %s: %w", c.Topic, err)
	}
	return nil
}

// connections takes addresses from the flags, else from the file. Where the
// flags name other ones, the file's credentials are not for them. Without a
// registry nothing is decoded.
func (c *tailCmd) connections(a *app) (kafka.Config, *avro.Registry, error) {
	log := newLogger(config.Log{Level: "warn"}, a.stderr)
	cluster := kafka.Config{Brokers: c.Brokers, ClientID: "cdc-tail", Logger: log}
	var registry *avro.Registry
	if len(c.Brokers) == 0 || c.Registry == "" {
		conf, err := loadConfig(c.Config)
		if err == nil {
			err = findEmbedded(conf)
		}
		switch {
		case err == nil:
			s, err := newSetup(conf, log, nil)
			if err != nil {
				return cluster, nil, err
			}
			registry = s.registry
			if len(c.Brokers) == 0 {
				cluster = s.kafka
			}
		case !errors.Is(err, fs.ErrNotExist):
			return cluster, nil, err
		case len(c.Brokers) == 0:
			return cluster, nil, usageError{fmt.Errorf("%w; name a file by --config, or addresses by --brokers and --registry", err)}
		}
	}
	if c.Registry != "" {
		r, err := avro.NewRegistry(avro.RegistryConfig{URL: c.Registry, Mode: avro.Lookup, Logger: log})
		if err != nil {
			return cluster, nil, usageError{err}
		}
		registry = r
	}
	return cluster, registry, nil
}

// position is where to begin in every partition: at an offset, or so many
// records before the end.
type position struct {
	offset  int64 // zero or less when fromEnd
	fromEnd bool
}

func (c *tailCmd) position() (position, error) {
	switch c.From {
	case "beginning":
		return position{}, nil
	case "end":
		return position{fromEnd: true}, nil
	}
	n, err := strconv.ParseInt(c.From, 10, 64)
	if err != nil {
		return position{}, fmt.Errorf("tail: --from %q is none of beginning, end and an offset", c.From)
	}
	return position{offset: n, fromEnd: n < 0}, nil
}

// tail prints one topic.
type tail struct {
	topic    string
	count    int // records to print; 0 is no bound
	follow   bool
	registry *avro.Registry // may be nil
	out      *bufio.Writer
}

// idle is how long nothing may come before the end that was there at the start
// counts as reached: compaction may have taken the last records.
const idle = 10 * time.Second

func (t *tail) run(ctx context.Context, client *kgo.Client, from position) error {
	ends, err := t.assign(ctx, client, from)
	if err != nil {
		return err
	}
	for printed := 0; t.follow || len(ends) > 0; {
		poll, cancel := ctx, context.CancelFunc(func() {})
		if !t.follow {
			poll, cancel = context.WithTimeout(ctx, idle)
		}
		fetches := client.PollFetches(poll)
		ended := poll.Err() != nil
		cancel()
		for _, e := range fetches.Errors() {
			if !ended {
				return fmt.Errorf("read partition %d: %w", e.Partition, e.Err)
			}
		}
		for r := range fetches.RecordsAll() {
			end, bounded := ends[r.Partition]
			if !t.follow && !bounded {
				continue // behind the end as it was at the start
			}
			if bounded && r.Offset+1 >= end {
				delete(ends, r.Partition)
			}
			if r.Attrs.IsControl() {
				continue
			}
			if err := t.print(ctx, r); err != nil {
				return err
			}
			if printed++; printed == t.count {
				return nil
			}
		}
		if err := t.out.Flush(); err != nil {
			return err
		}
		if ended {
			return ctx.Err()
		}
	}
	return nil
}

// assign begins to read all partitions and returns where those end now that
// hold something to read.
func (t *tail) assign(ctx context.Context, client *kgo.Client, from position) (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, t.topic)
	if err == nil {
		err = starts.Error()
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, errors.New("there is no such topic")
	}
	if err != nil {
		return nil, fmt.Errorf("look for its start: %w", err)
	}
	last, err := admin.ListCommittedOffsets(ctx, t.topic)
	if err == nil {
		err = last.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("look for its end: %w", err)
	}
	ends, assigned := map[int32]int64{}, map[int32]kgo.Offset{}
	last.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(t.topic, end.Partition)
		at := from.offset
		if from.fromEnd {
			at += end.Offset
		}
		at = min(max(at, start.Offset), end.Offset)
		if at < end.Offset {
			ends[end.Partition] = end.Offset
		}
		assigned[end.Partition] = kgo.NewOffset().At(at)
	})
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{t.topic: assigned})
	return ends, nil
}

// tailed is a record as tail prints it.
type tailed struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp time.Time         `json:"timestamp"`
	Key       json.RawMessage   `json:"key"`
	Value     json.RawMessage   `json:"value"`
	Headers   map[string]string `json:"headers"`           // of two with one name the last
	Problem   string            `json:"problem,omitempty"` // why key or value are not decoded
}

func (t *tail) print(ctx context.Context, r *kgo.Record) error {
	line := tailed{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UTC(),
		Headers: make(map[string]string, len(r.Headers)),
	}
	for _, h := range r.Headers {
		line.Headers[h.Key] = string(h.Value)
		if !utf8.Valid(h.Value) {
			line.Headers[h.Key] = base64.StdEncoding.EncodeToString(h.Value)
		}
	}
	var problems []string
	for _, part := range []struct {
		name  string
		bytes []byte
		to    *json.RawMessage
	}{{"key", r.Key, &line.Key}, {"value", r.Value, &line.Value}} {
		text, err := t.decode(ctx, part.bytes)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			problems = append(problems, part.name+": "+err.Error())
		}
		*part.to = text
	}
	line.Problem = strings.Join(problems, "; ")
	var text bytes.Buffer
	encoder := json.NewEncoder(&text) // it ends the line
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil {
		return err
	}
	return writeSafe(t.out, text.Bytes())
}

// writeSafe writes JSON with the control characters escaped that JSON allows as
// they are: DEL and U+0080 to U+009F, with which a terminal can be made to do things.
func writeSafe(out *bufio.Writer, text []byte) error {
	start := 0
	for i, c := range text {
		var control rune
		switch {
		case c == 0x7f:
			control = 0x7f
		case c == 0xc2 && i+1 < len(text) && text[i+1] < 0xa0:
			control = rune(text[i+1])
		default:
			continue
		}
		if _, err := out.Write(text[start:i]); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, `\u%04x`, control); err != nil {
			return err
		}
		start = i + 1
		if c == 0xc2 {
			start++
		}
	}
	_, err := out.Write(text[start:])
	return err
}

// decode renders bytes as JSON: a record in the registry's wire format by its
// schema, else text as a string, else base64 as a string. An error says why the
// first was not possible; the JSON is there all the same.
func (t *tail) decode(ctx context.Context, b []byte) (json.RawMessage, error) {
	if b == nil {
		return json.RawMessage("null"), nil
	}
	var why error
	if id, body, err := avro.SplitWire(b); err == nil && t.registry != nil {
		var schema *avro.Schema
		if schema, why = t.registry.Schema(ctx, id); why == nil {
			var text []byte
			if text, why = avro.JSON(schema, body); why == nil {
				return text, nil
			}
		}
	}
	s := string(b)
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		s = base64.StdEncoding.EncodeToString(b)
	}
	text, err := json.Marshal(s)
	return text, errors.Join(why, err)
}
