// Package oracle holds the codec against codecs of other makers: what we encode
// they must read as what it is, and what they encode we must read. hamba/avro is
// archived, with decoder advisories that stay open, and serves here only;
// fastavro is what most Python consumers use; twmb/avro parses our schemas.
package oracle

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	hamba "github.com/hamba/avro/v2"
	twmb "github.com/twmb/avro"

	"cdc/mapping/avro"
	"cdc/replication"
)

// subject is one case compiled: the schema of a record with the one field c,
// and the body that we wrote.
type subject struct {
	testCase
	schema  string
	body    []byte
	decoder *avro.Decoder
}

// subjects compiles every case twice, as a nullable column and as one that is
// not, and a null of every column.
func subjects(t *testing.T) []subject {
	t.Helper()
	var out []subject
	for _, c := range append(cases(), randomCases(400)...) {
		c.column.Name = "c"
		nothing := c
		nothing.value, nothing.want, nothing.without = replication.Null, "null", ""
		required := c
		required.column.NotNull = true
		for _, c := range []testCase{c, required, nothing} {
			out = append(out, compile(t, c))
		}
	}
	return out
}

func compile(t *testing.T, c testCase) subject {
	t.Helper()
	fields := []avro.FieldSpec{{Name: "c", Column: c.column}}
	schema, _, err := avro.RecordSchema("cdc.public", "t", "", fields)
	if err != nil {
		t.Fatal(err)
	}
	e, err := avro.NewEncoder(schema, 1, fields)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Append(nil, []replication.Value{c.value})
	if err != nil {
		t.Fatalf("%v of %v: %v", c.column, c.value, err)
	}
	s, err := avro.ParseSchema(schema)
	if err != nil {
		t.Fatal(err)
	}
	d, err := avro.NewDecoder(s)
	if err != nil {
		t.Fatal(err)
	}
	return subject{testCase: c, schema: schema, body: b[5:], decoder: d}
}

// readBack decodes what another library wrote and says how it differs.
func (s *subject) readBack(body []byte) error {
	got := make([]replication.Value, 1)
	if err := s.decoder.Decode(body, got, new(avro.Memory)); err != nil {
		return err
	}
	column := s.decoder.Columns()[0]
	// Text tells all but the ends of time, which mean infinity here.
	if text := valueText(got[0], column); text != s.want {
		return fmt.Errorf("reads %s", text)
	}
	if want := s.value.Kind(); want != replication.KindUint && want != replication.KindArray && !got[0].Equal(s.value) && want != replication.KindDecimal {
		return fmt.Errorf("reads %v", got[0])
	}
	return nil
}

// exactBytes says that hamba and fastavro write the same bytes as we do. They
// put arrays into blocks with a size, and spend a byte too many on the decimal
// -128 (-2^(8n-1) in general), where Java's BigInteger and twmb do not.
func (s *subject) exactBytes() bool {
	return s.column.Kind != replication.KindArray && !(s.column.Kind == replication.KindDecimal && s.want == "-128")
}

func TestHamba(t *testing.T) {
	var written int
	for _, s := range subjects(t) {
		// A cache of its own: hamba's default one is global, and earlier names
		// would resolve in later schemas.
		schema, err := hamba.ParseWithCache(s.schema, "", new(hamba.SchemaCache))
		if err != nil {
			t.Fatalf("%s: %v", s.schema, err)
		}
		var record map[string]any
		if err := hamba.Unmarshal(schema, s.body, &record); err != nil {
			t.Errorf("%v of %v: hamba: %v", s.column, s.value, err)
			continue
		}
		if got := goText(record["c"], s.column.Kind, s.column); got != s.want {
			t.Errorf("%v of %v: hamba reads %s, want %s", s.column, s.value, got, s.want)
			continue
		}
		body, err := hamba.Marshal(schema, record)
		if err != nil {
			t.Errorf("%v of %v: hamba does not write what it read: %v", s.column, s.value, err)
			continue
		}
		written++
		if err := s.readBack(body); err != nil {
			t.Errorf("%v of %v: hamba writes %x, and it %v; want %s", s.column, s.value, body, err, s.want)
		}
		if s.exactBytes() && !bytes.Equal(body, s.body) {
			t.Errorf("%v of %v: hamba writes %x, we %x", s.column, s.value, body, s.body)
		}
	}
	t.Logf("%d values read and written", written)
}

func TestTwmb(t *testing.T) {
	for _, s := range subjects(t) {
		schema, err := twmb.Parse(s.schema)
		if err != nil {
			t.Fatalf("%s: %v", s.schema, err)
		}
		var record map[string]any
		rest, err := schema.Decode(s.body, &record)
		if err != nil || len(rest) > 0 {
			t.Errorf("%v of %v: twmb: %v, %d bytes left", s.column, s.value, err, len(rest))
			continue
		}
		if got := goText(record["c"], s.column.Kind, s.column); got != s.want {
			t.Errorf("%v of %v: twmb reads %s, want %s", s.column, s.value, got, s.want)
			continue
		}
		body, err := schema.Encode(record)
		if err != nil {
			t.Errorf("%v of %v: twmb does not write what it read: %v", s.column, s.value, err)
			continue
		}
		if err := s.readBack(body); err != nil {
			t.Errorf("%v of %v: twmb writes %x, and it %v; want %s", s.column, s.value, body, err, s.want)
		}
		if !bytes.Equal(body, s.body) {
			t.Errorf("%v of %v: twmb writes %x, we %x", s.column, s.value, body, s.body)
		}
	}
}

func TestFastavro(t *testing.T) {
	python := os.Getenv("CDC_TEST_PYTHON")
	if python == "" {
		t.Fatal("CDC_TEST_PYTHON is not set: run `make test`, or `eval \"$(make -s services)\"` once and then go test")
	}
	all := subjects(t)
	var in bytes.Buffer
	for _, s := range all {
		line, err := json.Marshal(map[string]string{"schema": s.schema, "hex": hex.EncodeToString(s.body)})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/oracle.py")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("oracle.py: %v\n%s", err, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(all) {
		t.Fatalf("%d answers to %d records", len(lines), len(all))
	}
	for i, s := range all {
		var a struct{ Text, Rest, Hex, Error string }
		if err := json.Unmarshal([]byte(lines[i]), &a); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(s.without, "fastavro") {
			if a.Error == "" {
				t.Errorf("%v of %v: fastavro reads it now, as %s: expect it", s.column, s.value, a.Text)
			}
			continue
		}
		if a.Error != "" || a.Rest != "" {
			t.Errorf("%v of %v: fastavro: %s, left %s", s.column, s.value, a.Error, a.Rest)
			continue
		}
		if a.Text != s.want {
			t.Errorf("%v of %v: fastavro reads %s, want %s", s.column, s.value, a.Text, s.want)
			continue
		}
		body, err := hex.DecodeString(a.Hex)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.readBack(body); err != nil {
			t.Errorf("%v of %v: fastavro writes %x, and it %v; want %s", s.column, s.value, body, err, s.want)
		}
		if s.exactBytes() && !bytes.Equal(body, s.body) {
			t.Errorf("%v of %v: fastavro writes %x, we %x", s.column, s.value, body, s.body)
		}
	}
}
