package avro

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	twmb "github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"cdc/replication"
	"cdc/secret"
)

// Mode says whether schemas are registered or only looked up.
type Mode string

// The modes. In Lookup an absent schema is a refusal.
const (
	Register Mode = "register"
	Lookup   Mode = "lookup"
)

// RegistryConfig says how to reach a schema registry that speaks Confluent's API.
type RegistryConfig struct {
	URL      string // http or https; a user and password in it count like Username and Password
	Username string // for basic authentication, when not empty
	Password secret.String
	Token    secret.String // a bearer token, when not zero
	TLS      *tls.Config   // nil is the system's
	Mode     Mode          // "" is Register
	Logger   *slog.Logger  // nil discards
}

// ErrUnusableSchema says that the schema a record names cannot be had: the
// registry does not know the id, or what it knows is no Avro schema. It
// concerns records of that id, not the registry as a whole.
var ErrUnusableSchema = errors.New("no usable schema")

// Registry is a client of a schema registry that asks for each thing once.
// Any goroutine may use it.
type Registry struct {
	client *sr.Client
	url    string // without credentials, for messages
	mode   Mode
	logger *slog.Logger

	mu      sync.Mutex
	down    bool // the last answer was a transient error
	ids     map[subjectSchema]*once[int]
	schemas map[int]*once[*Schema]
}

type subjectSchema struct{ subject, schema string }

// NewRegistry checks the configuration; it does not connect.
func NewRegistry(cfg RegistryConfig) (*Registry, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, errors.New("parse the registry's URL: it is not one") // the cause would quote a password
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("registry URL %s: want http://host:port or https://host:port", u.Redacted())
	}
	user, password := cfg.Username, cfg.Password.Reveal()
	if u.User != nil {
		if user == "" {
			user = u.User.Username()
			password, _ = u.User.Password()
		}
		u.User = nil
	}
	mode := cfg.Mode
	switch mode {
	case "":
		mode = Register
	case Register, Lookup:
	default:
		return nil, fmt.Errorf("registry mode %q: want register or lookup", mode)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = cfg.TLS
	opts := []sr.ClientOpt{
		sr.URLs(u.String()), sr.UserAgent("cdc"),
		sr.HTTPClient(&http.Client{Timeout: 15 * time.Second, Transport: transport}),
	}
	if user != "" {
		opts = append(opts, sr.BasicAuth(user, password))
	}
	if !cfg.Token.IsZero() {
		opts = append(opts, sr.BearerToken(cfg.Token.Reveal()))
	}
	client, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("make registry client: %w", err)
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Registry{
		client: client, url: strings.TrimRight(u.String(), "/"), mode: mode, logger: logger,
		ids: map[subjectSchema]*once[int]{}, schemas: map[int]*once[*Schema]{},
	}, nil
}

// ID returns the id of the schema under the subject, registering it there in
// mode Register. What the registry rejects is a *replication.Refusal; transient
// errors are retried until ctx ends.
func (r *Registry) ID(ctx context.Context, subject, schema string) (int, error) {
	r.mu.Lock()
	o := get(r.ids, subjectSchema{subject, schema})
	r.mu.Unlock()
	return o.do(ctx, func() (id int, err error) {
		err = r.retry(ctx, func() error {
			if r.mode == Lookup {
				found, err := r.client.LookupSchema(ctx, subject, sr.Schema{Schema: schema})
				id = found.ID
				return err
			}
			id, err = r.client.RegisterSchema(ctx, subject, sr.Schema{Schema: schema}, -1, -1)
			return err
		})
		if err == nil && id <= 0 {
			err = errNoID
		}
		if err != nil {
			return 0, r.refuse(subject, err)
		}
		r.logger.Debug("schema known", "subject", subject, "id", id)
		return id, nil
	})
}

// Schema returns the schema of that id. An id without a usable schema is
// ErrUnusableSchema; transient errors are retried until ctx ends.
func (r *Registry) Schema(ctx context.Context, id int) (*Schema, error) {
	r.mu.Lock()
	o := get(r.schemas, id)
	r.mu.Unlock()
	s, err := o.do(ctx, func() (*Schema, error) {
		var s sr.Schema
		err := r.retry(ctx, func() (err error) {
			s, err = r.client.SchemaByID(ctx, id)
			return err
		})
		if err != nil {
			return nil, r.unusable(fmt.Sprintf("schema id %d", id), err)
		}
		return r.parse(ctx, fmt.Sprintf("schema id %d", id), s)
	})
	if err != nil {
		// Ids come from records: unknown ones must not fill the memory.
		r.mu.Lock()
		if r.schemas[id] == o {
			delete(r.schemas, id)
		}
		r.mu.Unlock()
	}
	return s, err
}

// Latest returns the newest schema of a subject and its id. It asks the registry
// each time. A subject that does not exist, or has no usable schema, is
// ErrUnusableSchema; transient errors are retried until ctx ends.
func (r *Registry) Latest(ctx context.Context, subject string) (id int, schema *Schema, err error) {
	var s sr.SubjectSchema
	err = r.retry(ctx, func() (err error) {
		s, err = r.client.SchemaByVersion(ctx, subject, -1)
		return err
	})
	if err != nil {
		return 0, nil, r.unusable("subject "+subject, err)
	}
	schema, err = r.parse(ctx, "subject "+subject, s.Schema)
	return s.ID, schema, err
}

// parse parses a schema after those it refers to.
func (r *Registry) parse(ctx context.Context, what string, s sr.Schema) (*Schema, error) {
	if s.Type != sr.TypeAvro {
		return nil, fmt.Errorf("%s: %w: it is %s, not Avro", what, ErrUnusableSchema, s.Type)
	}
	cache := new(twmb.SchemaCache)
	if err := r.parseReferences(ctx, cache, s.References, 0); err != nil {
		return nil, err
	}
	parsed, err := cache.Parse(s.Schema)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", what, ErrUnusableSchema, err)
	}
	out, err := newSchema(s.Schema, parsed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", what, ErrUnusableSchema, err)
	}
	return out, nil
}

func (r *Registry) parseReferences(ctx context.Context, cache *twmb.SchemaCache, refs []sr.SchemaReference, depth int) error {
	if depth > 20 {
		return fmt.Errorf("%w: references nested too deeply", ErrUnusableSchema)
	}
	for _, ref := range refs {
		var s sr.SubjectSchema
		err := r.retry(ctx, func() (err error) {
			s, err = r.client.SchemaByVersion(ctx, ref.Subject, ref.Version)
			return err
		})
		if err != nil {
			return r.unusable("reference "+ref.Name, err)
		}
		if err := r.parseReferences(ctx, cache, s.References, depth+1); err != nil {
			return err
		}
		if _, err := cache.Parse(s.Schema.Schema); err != nil {
			return fmt.Errorf("reference %s: %w: %w", ref.Name, ErrUnusableSchema, err)
		}
	}
	return nil
}

// Check asks the registry once and says whether it answers.
func (r *Registry) Check(ctx context.Context) []replication.Finding {
	f := replication.Finding{Subject: "schema registry " + r.url}
	if _, err := r.client.Subjects(sr.WithParams(ctx, sr.Limit(1))); err != nil {
		f.Level = replication.LevelError
		f.Problem = err.Error()
		f.Remedy = "curl " + r.url + "/subjects must answer: check registry.url, that the registry runs, and its user, token and CA"
		if refusal, ok := errors.AsType[*replication.Refusal](r.refuse("", err)); ok && refusal.Remedy != "" {
			f.Problem, f.Remedy = refusal.Problem, refusal.Remedy
		}
		return []replication.Finding{f}
	}
	f.Problem = "answers; mode " + string(r.mode)
	return []replication.Finding{f}
}

// retry calls ask until it succeeds, or fails in a way that asking again does
// not change.
func (r *Registry) retry(ctx context.Context, ask func() error) error {
	for attempt := 0; ; attempt++ {
		err := ask()
		if ctx.Err() != nil && err != nil {
			return ctx.Err()
		}
		if !transient(err) {
			r.setDown(false, nil)
			return err
		}
		r.setDown(true, err)
		// 100 ms, doubling up to 10 s, half of it at random.
		pause := min(100*time.Millisecond<<min(attempt, 7), 10*time.Second)
		pause = pause/2 + rand.N(pause/2)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// setDown logs when the registry stops and when it begins again to answer.
func (r *Registry) setDown(down bool, err error) {
	r.mu.Lock()
	changed := r.down != down
	r.down = down
	r.mu.Unlock()
	switch {
	case changed && down:
		r.logger.Warn("schema registry does not answer; trying again", "url", r.url, "error", err)
	case changed:
		r.logger.Info("schema registry answers again", "url", r.url)
	}
}

func transient(err error) bool {
	if err == nil {
		return false
	}
	if answer, ok := errors.AsType[*sr.ResponseError](err); ok {
		return answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	return !notRegistry(err)
}

// get returns the entry of a key, making it when it is new.
func get[K comparable, T any](m map[K]*once[T], key K) *once[T] {
	o := m[key]
	if o == nil {
		o = &once[T]{turn: make(chan struct{}, 1)}
		m[key] = o
	}
	return o
}

// once holds what is asked for once. One caller at a time asks, under its own
// ctx; the others wait for it, each no longer than its own. Errors are not kept.
type once[T any] struct {
	turn chan struct{}
	done bool
	got  T
}

func (o *once[T]) do(ctx context.Context, ask func() (T, error)) (T, error) {
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
	defer func() { <-o.turn }()
	if o.done {
		return o.got, nil
	}
	got, err := ask()
	if err == nil {
		o.done, o.got = true, got
	}
	return got, err
}
