package embedded

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/avro"
)

// store holds a registry's schemas: in memory, and as a log of JSON lines that
// is written and synced before a change is acknowledged.
type store struct {
	mu       sync.RWMutex
	log      *os.File
	size     int64 // of the log, up to the last whole line
	failed   error // the log could not be put right: no more changes
	subjects map[string]*subject
	levels   map[string]string // compatibility by subject, "" for all
	ids      map[string]int    // by canonical text: one schema has one id in all subjects
	texts    map[int]string    // by id
}

type subject struct {
	name     string
	versions []*schemaVersion // in the order of their numbers
	last     int              // the highest number ever given; kept by a soft delete
}

// schemaVersion is a schema under a subject.
type schemaVersion struct {
	number, id int
	text       string // as it was registered
	canonical  string
	schema     *avro.Schema
	deleted    bool // softly
}

// entry is a line of the log.
type entry struct {
	Do      string `json:"do"` // register, delete, purge, level
	Subject string `json:"subject,omitempty"`
	Version int    `json:"version,omitempty"`
	ID      int    `json:"id,omitempty"`
	Schema  string `json:"schema,omitempty"`
	Level   string `json:"level,omitempty"`
}

// defaultLevel is the compatibility of a new registry, as Confluent's.
const defaultLevel = "BACKWARD"

var levels = []string{"NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"}

// openStore reads the log. A last line that a crash cut short was never
// acknowledged: it is dropped.
func openStore(path string, logger *slog.Logger) (*store, error) {
	s := &store{subjects: map[string]*subject{}, levels: map[string]string{}, ids: map[string]int{}, texts: map[int]string{}}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read schemas: %w", err)
	}
	for number := 1; len(text) > 0; number++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			logger.Warn("registry: dropped a line that was cut short", "file", path, "line", number, "bytes", len(line))
			break
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read schemas: %s:%d: %w", path, number, err)
		}
		if err := s.apply(e); err != nil {
			return nil, fmt.Errorf("read schemas: %s:%d: %w", path, number, err)
		}
		s.size += int64(len(line)) + 1
		text = rest
	}
	if s.log, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("open schemas: %w", err)
	}
	if err := s.log.Truncate(s.size); err != nil {
		s.log.Close()
		return nil, fmt.Errorf("open schemas: %w", err)
	}
	return s, nil
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = errors.New("the registry is closed")
	return s.log.Close()
}

// change makes the entries durable, then does them. The caller holds the lock.
func (s *store) change(entries ...entry) error {
	if s.failed != nil {
		return s.failed
	}
	var lines []byte
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("write schemas: %w", err)
		}
		lines = append(append(lines, line...), '\n')
	}
	_, err := s.log.WriteAt(lines, s.size)
	if err == nil {
		err = s.log.Sync()
	}
	if err != nil {
		// What is there of it must not come back at the next start.
		if undo := s.log.Truncate(s.size); undo != nil {
			s.failed = fmt.Errorf("write schemas: %w", errors.Join(err, undo))
		}
		return fmt.Errorf("write schemas: %w", err)
	}
	s.size += int64(len(lines))
	for _, e := range entries {
		if err := s.apply(e); err != nil {
			return err
		}
	}
	return nil
}

// apply does one entry in memory.
func (s *store) apply(e entry) error {
	if e.Do == "level" {
		if e.Level == "" {
			delete(s.levels, e.Subject)
		} else {
			s.levels[e.Subject] = e.Level
		}
		return nil
	}
	sub := s.subjects[e.Subject]
	if e.Do == "register" {
		v, err := parseVersion(e.Schema)
		if err != nil {
			return err
		}
		v.number, v.id = e.Version, e.ID
		if sub == nil {
			sub = &subject{name: e.Subject}
			s.subjects[e.Subject] = sub
		}
		sub.versions, sub.last = append(sub.versions, v), max(sub.last, v.number)
		s.ids[v.canonical] = v.id
		if _, known := s.texts[v.id]; !known {
			s.texts[v.id] = v.text
		}
		return nil
	}
	if sub == nil {
		return fmt.Errorf("%s of unknown subject %q", e.Do, e.Subject)
	}
	i := slices.IndexFunc(sub.versions, func(v *schemaVersion) bool { return v.number == e.Version })
	if i < 0 {
		return fmt.Errorf("%s of unknown version %d of subject %q", e.Do, e.Version, e.Subject)
	}
	switch e.Do {
	case "delete":
		sub.versions[i].deleted = true
	case "purge": // the schema keeps its id: topics hold it
		sub.versions = slices.Delete(sub.versions, i, i+1)
		if len(sub.versions) == 0 {
			delete(s.subjects, e.Subject)
		}
	default:
		return fmt.Errorf("unknown entry %q", e.Do)
	}
	return nil
}

// parseVersion parses a schema and makes its canonical text: the same JSON
// whatever its spaces and the order of its keys. Documentation, defaults and
// unknown properties count, as in Confluent's registry.
func parseVersion(text string) (*schemaVersion, error) {
	schema, err := avro.Parse(text)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	canonical, err := json.Marshal(v) // sorts keys
	if err != nil {
		return nil, err
	}
	return &schemaVersion{text: text, canonical: string(canonical), schema: schema}, nil
}

// live returns the versions that are not deleted.
func (sub *subject) live() (vs []*schemaVersion) {
	if sub == nil {
		return nil
	}
	for _, v := range sub.versions {
		if !v.deleted {
			vs = append(vs, v)
		}
	}
	return vs
}

// level returns the compatibility that holds for a subject.
func (s *store) level(subject string) string {
	return cmp.Or(s.levels[subject], s.levels[""], defaultLevel)
}

// register returns the id of a schema under a subject, which gets a new version
// unless it has that schema already.
func (s *store) register(name string, text string) (int, error) {
	v, err := parseVersion(text)
	if err != nil {
		return 0, invalidSchema(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subjects[name]
	live := sub.live()
	for _, old := range live {
		if old.canonical == v.canonical {
			return old.id, nil
		}
	}
	if problems := compare(s.level(name), live, v); len(problems) > 0 {
		return 0, incompatible(name, s.level(name), problems)
	}
	id, known := s.ids[v.canonical]
	if !known {
		id = len(s.texts) + 1
	}
	number := 1
	if sub != nil {
		number = sub.last + 1
	}
	return id, s.change(entry{Do: "register", Subject: name, Version: number, ID: id, Schema: text})
}

// compare returns why a schema may not follow the versions under a level of
// compatibility: with the last one, or with all when it is transitive.
// BACKWARD: the new schema reads what the old ones wrote. FORWARD: the old ones
// read what it writes.
func compare(level string, versions []*schemaVersion, v *schemaVersion) (problems []string) {
	kind, transitive := strings.CutSuffix(level, "_TRANSITIVE")
	if !transitive && len(versions) > 0 {
		versions = versions[len(versions)-1:]
	}
	for _, old := range slices.Backward(versions) {
		if kind == "BACKWARD" || kind == "FULL" {
			if err := avro.CheckCompatibility(old.schema, v.schema); err != nil {
				problems = append(problems, fmt.Sprintf("the new schema cannot read data of version %d: %s", old.number, reason(err)))
			}
		}
		if kind == "FORWARD" || kind == "FULL" {
			if err := avro.CheckCompatibility(v.schema, old.schema); err != nil {
				problems = append(problems, fmt.Sprintf("version %d cannot read data of the new schema: %s", old.number, reason(err)))
			}
		}
	}
	return problems
}

// reason words a disagreement so that it names the field.
func reason(err error) string {
	e, ok := errors.AsType[*avro.CompatibilityError](err)
	if !ok {
		return err.Error()
	}
	text := fmt.Sprintf("field %s: %s", e.Path, e.Detail)
	switch {
	case e.ReaderType != "" && e.WriterType != "":
		text += fmt.Sprintf(" (reader: %s, writer: %s)", e.ReaderType, e.WriterType)
	case e.ReaderType != "":
		text += fmt.Sprintf(" (reader: %s)", e.ReaderType)
	}
	return text
}
