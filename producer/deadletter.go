package producer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"cdc/mapping"
	"cdc/replication"
)

// The headers of a dead letter, beside those of every record.
const (
	HeaderError = "cdc.error" // why it is here
	HeaderTable = "cdc.table" // schema.name
	HeaderKey   = "cdc.key"   // the row's key for people
	// HeaderTopic is where the record should have gone. It is set when the
	// letter is a whole record that its topic does not take: key and value
	// are then exactly what would have been published, so that it can be
	// replayed by producing it again. Without this header the value is the JSON
	// of a change that could not become a record.
	HeaderTopic = "cdc.topic"
)

// DeadLetters puts changes that cannot become records into a topic.
//
// It holds two kinds of letters, both whole: changes that could not be encoded,
// as JSON (see Put), and records that their topic does not take, as they are. The
// topic is created with max.message.bytes of 64 MiB and without retention; a
// letter larger than the topic takes stops the pipeline.
type DeadLetters struct{ p *Producer }

// DeadLetters returns the store; Config.DeadLetterTopic names its topic.
func (p *Producer) DeadLetters() *DeadLetters { return &DeadLetters{p} }

// letter is the value of a dead letter. Cells are text as the source printed
// them, null for NULL, or {"bytes": base64} where that is not UTF-8.
type letter struct {
	Table      string         `json:"table"`
	Op         string         `json:"op"`
	Tx         string         `json:"tx,omitempty"`
	Position   string         `json:"position"` // commit position ':' index in the transaction
	CommitTime time.Time      `json:"commit_time"`
	Error      string         `json:"error"`
	Key        map[string]any `json:"key,omitempty"`
	Before     map[string]any `json:"before,omitempty"`
	After      map[string]any `json:"after,omitempty"`
	Unchanged  []string       `json:"unchanged,omitempty"` // columns of After that the log left out
	Refetched  []string       `json:"refetched,omitempty"` // columns of After read from the table again
	Prefix     string         `json:"prefix,omitempty"`    // of a message that an application wrote into the log
	Content    any            `json:"content,omitempty"`   // of such a message
}

// Put publishes c with the reason, and returns once the brokers have it.
func (d *DeadLetters) Put(ctx context.Context, c *replication.Change, reason error) error {
	t, err := d.p.deadLetterTopic(ctx)
	if err != nil {
		return err
	}
	l := newLetter(c, reason)
	value, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode dead letter: %w", err)
	}
	key, err := json.Marshal(l.Key)
	if err != nil {
		return fmt.Errorf("encode dead letter: %w", err)
	}
	r := &kgo.Record{Topic: t.name, Key: key, Value: value, Timestamp: time.Now(), Partition: hashed, Headers: []kgo.RecordHeader{
		{Key: HeaderError, Value: []byte(l.Error)},
		{Key: HeaderTable, Value: []byte(l.Table)},
		{Key: HeaderKey, Value: key},
		{Key: mapping.HeaderOp, Value: []byte(l.Op)},
		{Key: mapping.HeaderPosition, Value: []byte(l.Position)},
		{Key: mapping.HeaderCommitTime, Value: strconv.AppendInt(nil, l.CommitTime.UnixMicro(), 10)},
	}}
	if l.Tx != "" {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: mapping.HeaderTx, Value: []byte(l.Tx)})
	}
	if size := recordBatchSize(r); size > t.limit {
		return fmt.Errorf("dead letter of table %s, key %s: %w", l.Table, key, &tooLargeError{topic: t.name, size: size, limit: t.limit})
	}
	if err := d.p.send(ctx, r); err != nil {
		return explain(err, "produce to topic "+t.name, "Write on topic "+t.name)
	}
	d.p.metrics.deadLetters.Inc()
	return nil
}

// send produces one record and waits for the brokers or the end of ctx.
func (p *Producer) send(ctx context.Context, r *kgo.Record) error {
	acked := make(chan error, 1)
	p.client.Produce(context.WithoutCancel(ctx), r, func(_ *kgo.Record, err error) { acked <- err })
	select {
	case err := <-acked:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func newLetter(c *replication.Change, reason error) letter {
	l := letter{Op: c.Op.String(), Error: reason.Error()}
	if c.Tx != nil {
		l.Tx = string(c.Tx.ID)
		l.Position = fmt.Sprintf("%s:%d", c.Tx.Commit, c.Index)
		l.CommitTime = time.UnixMicro(c.Tx.CommitTime).UTC()
	}
	if c.Table == nil {
		if c.Message != nil {
			l.Prefix = strings.ToValidUTF8(string(c.Message.Prefix), "\uFFFD")
			l.Content = cell(replication.BytesValue(replication.KindString, c.Message.Content))
		}
		return l
	}
	l.Table, l.Before, l.After = c.Table.String(), cells(c.Table, c.Before), cells(c.Table, c.After)
	row := c.After
	if row == nil {
		row = c.Before
	}
	if row != nil {
		l.Key = map[string]any{}
		for _, i := range c.Table.Key {
			l.Key[c.Table.Columns[i].Name] = cell(row[i])
		}
	}
	for i, v := range c.After {
		if v.IsUnchanged() {
			l.Unchanged = append(l.Unchanged, c.Table.Columns[i].Name)
		}
	}
	for _, i := range c.Refetched {
		l.Refetched = append(l.Refetched, c.Table.Columns[i].Name)
	}
	return l
}

// cells leaves out what is Unchanged: it is not known.
func cells(t *replication.Table, row []replication.Value) map[string]any {
	if row == nil {
		return nil
	}
	m := make(map[string]any, len(row))
	for i, v := range row {
		if !v.IsUnchanged() {
			m[t.Columns[i].Name] = cell(v)
		}
	}
	return m
}

func cell(v replication.Value) any {
	switch v.Kind() {
	case replication.KindNull:
		return nil
	case replication.KindBool:
		return v.Bool()
	case replication.KindArray:
		list := make([]any, 0, v.Len())
		for _, e := range v.Elems() {
			list = append(list, cell(e))
		}
		return list
	case replication.KindBytes:
		return map[string]any{"bytes": base64.StdEncoding.EncodeToString(v.Bytes())}
	case replication.KindString, replication.KindJSON, replication.KindDecimal, replication.KindInvalid:
		if b := v.Bytes(); !utf8.Valid(b) {
			return map[string]any{"bytes": base64.StdEncoding.EncodeToString(b)}
		}
		return string(v.Bytes())
	default:
		return cellText(v)
	}
}

// cellText renders numbers, times and UUIDs exactly.
func cellText(v replication.Value) string {
	switch k := v.Kind(); k {
	case replication.KindDate, replication.KindTimestamp, replication.KindTimestampTZ:
		switch v.Int() {
		case replication.Infinity:
			return "infinity"
		case replication.NegInfinity:
			return "-infinity"
		}
		switch k {
		case replication.KindDate:
			return time.Unix(0, 0).UTC().AddDate(0, 0, int(v.Int())).Format("2006-01-02")
		case replication.KindTimestamp:
			return time.UnixMicro(v.Int()).UTC().Format("2006-01-02T15:04:05.999999")
		default: // as below
		}
		return time.UnixMicro(v.Int()).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
	case replication.KindTime:
		us := v.Int()
		return fmt.Sprintf("%02d:%02d:%02d.%06d", us/3_600_000_000, us/60_000_000%60, us/1_000_000%60, us%1_000_000)
	case replication.KindUUID:
		b := v.Bytes()
		if len(b) == 16 {
			return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
		}
	default: // as below
	}
	return v.String()
}

// deadRecord is a record that was too large for its topic, as it is, with the
// reason in headers.
func deadRecord(topic string, k *kgo.Record, m *mapping.Record, why *mapping.RowError) *kgo.Record {
	h := append([]kgo.RecordHeader{
		{Key: HeaderError, Value: []byte(why.Error())},
		{Key: HeaderTable, Value: []byte(why.Table)},
		{Key: HeaderKey, Value: []byte(why.Key)},
		{Key: HeaderTopic, Value: []byte(m.Topic)},
	}, k.Headers...)
	return &kgo.Record{Topic: topic, Key: k.Key, Value: k.Value, Headers: h, Timestamp: k.Timestamp, Partition: hashed}
}
