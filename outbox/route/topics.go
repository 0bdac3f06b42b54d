package route

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cdc/mapping/avro"
)

// topics knows the topics that messages went to, and their schemas. One
// goroutine uses it.
type topics struct {
	registry Schemas
	known    map[topicKey]*topic
	names    map[string]string // names of headers, so that they are made once
	now      time.Time         // of the batch
	last     *topic            // of the message before
}

// topicKey is a topic as one outbox names it: another may have another schema.
type topicKey struct {
	box  *box
	name string
}

// topic is one topic.
type topic struct {
	name    string // with the prefix
	raw     string // without
	box     *box
	err     error // why nothing can go there
	encoder *avro.JSONEncoder
	schema  int       // its id
	unknown error     // why there is no encoder
	asked   time.Time // when the registry was last asked
}

const (
	// freshSchema is how long the newest schema of a subject counts as such, and
	// freshError how long its absence.
	freshSchema = time.Minute
	freshError  = 5 * time.Second
)

// find returns the topic of that name.
func (t *topics) find(prefix string, name []byte, b *box) (*topic, error) {
	if l := t.last; l != nil && l.box == b && l.raw == string(name) {
		return l, l.err
	}
	to, known := t.known[topicKey{b, string(name)}] // the compiler makes no copy of name
	if !known {
		if len(t.known) >= maxPlans {
			clear(t.known)
		}
		to = &topic{name: prefix + string(name), raw: string(name), box: b}
		to.err = checkTopic(to.name)
		t.known[topicKey{b, to.raw}] = to
	}
	t.last = to
	return to, to.err
}

// checkTopic says what Kafka has against a topic's name
// (org.apache.kafka.common.internals.Topic).
func checkTopic(name string) error {
	const longest = 249
	if name == "." || name == ".." || len(name) > longest {
		return fmt.Errorf("Kafka allows no topic %.260q", name) //nolint:staticcheck // a name
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("Kafka allows no topic %.260q: only letters, digits, '.', '_' and '-'", name) //nolint:staticcheck // a name
		}
	}
	return nil
}

// encoder returns what encodes the topic's payloads: by the schema of the
// configuration, else by the newest of its subject, which is looked up again
// now and then.
func (t *topics) encoder(ctx context.Context, to *topic) (*avro.JSONEncoder, error) {
	fresh := freshSchema
	if to.unknown != nil {
		fresh = freshError
	}
	if !to.asked.IsZero() && (to.box.Schemas[to.raw] != "" && to.unknown == nil || t.now.Sub(to.asked) < fresh) {
		return to.encoder, to.unknown
	}
	id, schema, err := t.ask(ctx, to)
	if err != nil {
		if !errors.Is(err, avro.ErrUnusableSchema) {
			return nil, &systemError{err}
		}
		to.unknown = err
	} else if to.unknown = nil; to.encoder == nil || id != to.schema {
		to.encoder, err = avro.NewJSONEncoder(schema, id)
		to.schema, to.unknown = id, err
	}
	to.asked = t.now
	return to.encoder, to.unknown
}

func (t *topics) ask(ctx context.Context, to *topic) (int, *avro.Schema, error) {
	subject := to.name + "-value"
	text := to.box.Schemas[to.raw]
	if text == "" {
		return t.registry.Latest(ctx, subject)
	}
	schema, err := avro.ParseSchema(text)
	if err != nil {
		return 0, nil, err
	}
	id, err := t.registry.ID(ctx, subject, text)
	return id, schema, err
}

// intern returns b as a string, made once for each content.
func (t *topics) intern(b []byte) string {
	if s, ok := t.names[string(b)]; ok {
		return s
	}
	if t.names == nil || len(t.names) >= maxPlans {
		t.names = map[string]string{}
	}
	s := string(b)
	t.names[s] = s
	return s
}
