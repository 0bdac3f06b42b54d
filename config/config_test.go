package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cdc/secret"
)

func noEnv(string) (string, bool) { return "", false }

var revealed = cmp.Transformer("reveal", secret.String.Reveal)

const small = `name: shop
source: {postgres: {url: "postgres://cdc@db/shop"}}
tables: [public.orders]
kafka: {brokers: "a:9092, b:9092"}
registry: {url: "http://registry:8081"}
`

// TestDefaults states what a file that says the least means.
func TestDefaults(t *testing.T) {
	got, err := Parse("dir/cdc.yml", []byte(small), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Name: "shop",
		Source: Source{Postgres: &PostgresSource{
			URL: secret.New("postgres://cdc@db/shop"), Slot: "cdc_shop", Publication: "cdc_shop", SlotWait: 30 * time.Second, Failover: "auto", Streaming: true, SpillMemory: 16 << 20,
		}},
		Tables: []Table{{Schema: "public", Name: "orders", Toast: "refetch", Snapshot: "initial", Key: Key{Mode: KeyPrimary}}},
		Map:    Map{Format: "row", Topic: "{schema}.{table}", Namespace: "cdc.{schema}", Truncate: "record"},
		Kafka: Kafka{
			Brokers: []string{"a:9092", "b:9092"}, Topics: Topics{Create: true, Partitions: 1, Compact: true}, Compression: "snappy",
			Linger: 5 * time.Millisecond, Buffer: 64 << 20, CheckpointTopic: "cdc_checkpoints",
		},
		Registry: Registry{URL: "http://registry:8081", Mode: "register"},
		OnError:  "stop", DeadLetterTopic: "cdc_dead_letters",
		Admin: Admin{Listen: "127.0.0.1:9187"}, Log: Log{Level: "info", Format: "text"},
		DrainTimeout: 20 * time.Second, DataDir: filepath.Join("dir", "cdc-data"),
	}
	if diff := cmp.Diff(want, got, revealed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFull reads the annotated example of the manual.
func TestFull(t *testing.T) {
	data, err := os.ReadFile("testdata/full.yml")
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SHOP_PASSWORD": "a@b:/'${HOME}"}
	got, err := Parse("testdata/full.yml", data, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile("testdata/order-key.avsc")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Name: "shop",
		Source: Source{Postgres: &PostgresSource{
			URL: secret.New("postgres://cdc:a%40b%3A%2F%27$%7BHOME%7D@db:5432/shop?sslmode=require"), Password: secret.New("a@b:/'${HOME}"),
			Slot: "cdc_shop", Publication: "cdc_shop", SlotWait: 30 * time.Second, Failover: "auto", Streaming: true, SpillMemory: 16 << 20,
		}},
		Tables: []Table{
			{Schema: "public", Name: "customers", Toast: "refetch", Snapshot: "initial", Key: Key{Mode: KeyPrimary}},
			{Schema: "public", Name: "orders", Toast: "refetch", Snapshot: "initial", Topic: "{schema}.{table}", Key: Key{Mode: KeyPrimary}, Exclude: []string{"card_number"}, Rename: map[string]string{"total": "amount"}},
			{Schema: "public", Name: "events", Toast: "refetch", Snapshot: "never", Key: Key{Mode: KeyField, Fields: []string{"tenant", "id"}}},
			{Schema: "public", Name: "invoices", Toast: "refetch", Snapshot: "initial", Key: Key{Mode: KeySchema, Schema: string(key)}},
			{Schema: "public", Name: "settings", Toast: "refetch", Snapshot: "initial", Key: Key{Mode: KeyPlain, Field: "name"}},
		},
		Map: Map{Format: "row", Topic: "{schema}.{table}", Namespace: "cdc.{schema}", Truncate: "record"},
		Kafka: Kafka{
			Brokers:     []string{"kafka-1:9092", "kafka-2:9092"},
			TLS:         &TLS{CA: "testdata/ca.pem", Cert: "testdata/client.pem", Key: "testdata/client.key", ServerName: "kafka.example.com"},
			SASL:        &SASL{Mechanism: "scram-sha-512", Username: "cdc", Password: secret.New("secret")},
			Topics:      Topics{Create: true, Partitions: 1, Compact: true, Config: map[string]string{"retention.ms": "-1"}},
			Compression: "snappy", Linger: 5 * time.Millisecond, Buffer: 64 << 20, CheckpointTopic: "cdc_checkpoints",
		},
		Registry: Registry{URL: "https://registry:8081", Username: "cdc", Password: secret.New("secret"), TLS: &TLS{}, Mode: "register"},
		OnError:  "stop", DeadLetterTopic: "cdc_dead_letters",
		Sinks: []Sink{{
			Name: "warehouse", Group: "cdc_warehouse", Topics: []string{"public.orders", `/public\.(customers|settings)/`},
			Postgres: &PostgresSink{URL: secret.New("postgres://cdc:secret@warehouse:5432/warehouse"), Password: secret.New("secret")},
			Schema:   "public", CreateTables: true, AddColumns: true, AlterColumns: true, OffsetsTable: "cdc_offsets", OnError: "stop", DeadLetterTopic: "cdc_dead_letters",
			Tables: []SinkTable{{Topic: "public.settings", Table: "shop_settings", Schema: "config", Key: []string{"name"}}},
			Batch:  Batch{Rows: 20000, Bytes: 16 << 20},
		}},
		Admin: Admin{Listen: "127.0.0.1:9187", Chosen: true}, Log: Log{Level: "info", Format: "text"},
		DrainTimeout: 20 * time.Second, DataDir: "testdata/cdc-data",
	}
	if diff := cmp.Diff(want, got, revealed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := fmt.Sprintf("%+v %#v", got, got.Source.Postgres); strings.Contains(s, "a@b") || strings.Contains(s, "%40") {
		t.Errorf("a secret is printed: %s", s)
	}
}

// TestBad: each testdata/bad/*.yml earns exactly the text beside it.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(file, data, func(name string) (string, bool) {
				v, ok := map[string]string{"EMPTY": "", "PASSWORD": "hush-hush"}[name]
				return v, ok
			})
			if _, ok := errors.AsType[*Errors](err); !ok {
				t.Fatalf("no *Errors but %v", err)
			}
			text := strings.ReplaceAll(err.Error(), "testdata/bad/", "") + "\n"
			if strings.Contains(text, "hush") {
				t.Errorf("a secret is printed:\n%s", text)
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, ".yml") + ".txt")
			if err != nil {
				t.Fatalf("%v; the text is:\n%s", err, text)
			}
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cdc.yml", strings.Replace(small, `url: "postgres://cdc@db/shop"`, "url_file: url, password_file: password", 1))
	write("url", "host=db user=cdc\n")
	write("password", `it's \ ${NOT_A_VARIABLE}`+"\r\n")
	c, err := Load(filepath.Join(dir, "cdc.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Source.Postgres.URL.Reveal(), `host=db user=cdc password='it\'s \\ ${NOT_A_VARIABLE}'`; got != want {
		t.Errorf("url %s, want %s", got, want)
	}
	// An empty user in a URL would hide PGUSER.
	write("url", "postgres://db/shop?sslmode=disable\n")
	if c, err = Load(filepath.Join(dir, "cdc.yml")); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Source.Postgres.URL.Reveal(), "postgres://db/shop?sslmode=disable&password=it%27s%20%5C%20%24%7BNOT_A_VARIABLE%7D"; got != want {
		t.Errorf("url %s, want %s", got, want)
	}
	if _, err := Load(filepath.Join(dir, "none.yml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestForms(t *testing.T) {
	c, err := Parse("cdc.yml", []byte(`
name: shop-2
source: &s {postgres: {url: "postgres:///shop"}}
tables:
  - '"my.schema"."a ""b"""'
  - {table: public.b, key: none}
kafka: embedded
registry: embedded
admin: {listen: off}
drain_timeout: ${WAIT:-1m30s}
dead_letter_topic: a$${b}-$c
`), noEnv)
	if err == nil || !strings.Contains(err.Error(), `"a${b}-$c" is not a topic's name`) {
		t.Fatalf("got %+v, %v", c, err)
	}
	c, err = Parse("cdc.yml", []byte(`
name: shop-2
source: {postgres: {url: "postgres:///shop"}}
tables:
  - '"my.schema"."a ""b"""'
  - {table: public.b, key: none}
kafka: embedded
registry: embedded
admin: {listen: off}
drain_timeout: ${WAIT:-1m30s}
`), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if a := c.Tables[0]; a.Schema != "my.schema" || a.Name != `a "b"` {
		t.Errorf("table %q.%q", a.Schema, a.Name)
	}
	if c.Tables[1].Key.Mode != KeyNone || !c.Kafka.Embedded || !c.Registry.Embedded || c.Kafka.Buffer != 64<<20 || c.Admin.Listen != "" || c.DrainTimeout != 90*time.Second || c.Source.Postgres.Slot != "cdc_shop_2" {
		t.Errorf("%+v", c)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "17": 17, "64MiB": 64 << 20, "1 GiB": 1 << 30, "5kB": 5000, "2GB": 2e9, "10B": 10} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "1 TB", "99999999999GiB", "1e3", "9223372036854775808", "1MiBx", "1é"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestSchemaIsJSON(t *testing.T) {
	var s struct {
		Properties map[string]struct{ Description string }
		Required   []string
	}
	if err := json.Unmarshal(JSONSchema(), &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"name", "kafka", "registry"}, s.Required); diff != "" {
		t.Errorf("required (-want +got):\n%s", diff)
	}
	for name, p := range s.Properties {
		if p.Description == "" {
			t.Errorf("%s has no description", name)
		}
	}
}

// FuzzParse: whatever stands in a file, Parse answers with a Config or with
// problems that have a place and a text.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(files, "testdata/full.yml") {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz.yml", data, noEnv)
		if err == nil {
			if c.Name == "" || len(c.Sinks) == 0 && !c.Source.Given() {
				t.Errorf("accepted %+v", c)
			}
			return
		}
		e, ok := errors.AsType[*Errors](err)
		if !ok || len(e.Problems) == 0 || c != nil {
			t.Fatalf("%v, %v", c, err)
		}
		for _, p := range e.Problems {
			if p.Text == "" || p.File != "fuzz.yml" {
				t.Errorf("problem %+v", p)
			}
		}
	})
}

// TestMySQLSink: the password goes into the URL, whatever is in it, and the
// database is left to the URL.
func TestMySQLSink(t *testing.T) {
	const file = `
name: shop
kafka: embedded
registry: embedded
sinks:
  - {name: a, topics: [t], mysql: {url: "mysql://u@h:3306/d?tls=true", password: "p@:/%"}}
  - {name: b, topics: [t], schema: other, mariadb: {url: "mariadb://u:x@h/d", tls: {insecure: true}}}
`
	c, err := Parse("cdc.yml", []byte(file), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Sinks[0], c.Sinks[1]
	if got := a.MySQL.URL.Reveal(); got != "mysql://u:p%40%3A%2F%25@h:3306/d?tls=true" || a.Schema != "" || a.MariaDB != nil || a.Postgres != nil {
		t.Errorf("%s, schema %q", got, a.Schema)
	}
	if got := b.MariaDB.URL.Reveal(); got != "mariadb://u:x@h/d" || b.Schema != "other" || !b.MariaDB.TLS.Insecure {
		t.Errorf("%s, %+v", got, b.MariaDB)
	}
}

// TestAsText: the text of a value is a setting of PostgreSQL's capture; that of
// another family refuses it, and does not pass over it.
func TestAsText(t *testing.T) {
	tables := "tables: [{table: shop.orders, as_text: [total, at]}]"
	c, err := Parse("cdc.yml", []byte(strings.Replace(small, "tables: [public.orders]", tables, 1)), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Tables[0].AsText; !slices.Equal(got, []string{"total", "at"}) {
		t.Errorf("as_text %q", got)
	}
	mysql := strings.NewReplacer("tables: [public.orders]", tables, `postgres: {url: "postgres://cdc@db/shop"}`, `mysql: {url: "mysql://cdc@db/"}`).Replace(small)
	if _, err := Parse("cdc.yml", []byte(mysql), noEnv); err == nil || !strings.Contains(err.Error(), "tables[0].as_text") {
		t.Errorf("as_text of a MySQL source: %v", err)
	}
}
