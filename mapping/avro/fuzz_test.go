package avro

import (
	"encoding/json"
	"testing"

	"cdc/replication"
)

// fuzzSchemas are writer schemas of every shape; the first byte of the input
// picks one.
var fuzzSchemas = []string{
	oneField(`"long"`),
	`{"type":"record","name":"r","fields":[{"name":"id","type":"long"},
		{"name":"s","type":["null","string"]},{"name":"d","type":["null",{"type":"bytes","logicalType":"decimal","precision":38,"scale":9}]},
		{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"u","type":["null",{"type":"string","logicalType":"uuid"}]},
		{"name":"f","type":"float"},{"name":"g","type":"double"},{"name":"b","type":["boolean","null"]},{"name":"y","type":"bytes"},
		{"name":"day","type":["null",{"type":"int","logicalType":"date"}]},{"name":"c","type":{"type":"long","logicalType":"time-micros"}}]}`,
	oneField(`{"type":"array","items":["null","long"]}`),
	oneField(`{"type":"array","items":"null"}`),
	oneField(`{"type":"array","items":{"type":"array","items":"null"}}`),
	oneField(`{"type":"map","values":["null","string","double"]}`),
	oneField(tree),
	oneField(endless),
	oneField(`{"type":"array","items":` + tree + `}`),
	oneField(enum),
	oneField(`{"type":"fixed","name":"x","size":16,"logicalType":"uuid"}`),
	oneField(`{"type":"fixed","name":"x","size":20,"logicalType":"decimal","precision":40,"scale":4}`),
	oneField(`["null","int",` + nested + `,` + enum + `,{"type":"map","values":"bytes"}]`),
	`{"type":"record","name":"r","fields":[{"name":"f","type":"string","cdc.kind":"decimal"},{"name":"j","type":"string","cdc.kind":"json"}]}`,
	`{"type":"record","name":"r","fields":[{"name":"a","type":["null","string"]},{"name":"b","type":"int"},{"name":"cdc_omitted","type":["null",{"type":"array","items":"string"}],"default":null,"cdc.kind":"omitted"}]}`,
	oneField(connectGeometry), oneField(connectVector), oneField(connectSparse), oneField(connectZonedTimestamp), oneField(connectDuration), oneField(connectZonedTime),
	`"string"`,
	`{"type":"map","values":{"type":"array","items":{"type":"int","logicalType":"time-millis"}}}`,
}

// Types as Debezium has them.
const (
	connectGeometry = `{"type":"record","name":"io.debezium.data.geometry.Geometry","fields":[{"name":"wkb","type":"bytes"},{"name":"srid","type":["null","int"]},
		{"name":"extensions","type":["null",{"type":"map","values":"string"}]}],"connect.name":"io.debezium.data.geometry.Geometry"}`
	connectVector = `{"type":"array","items":"double","connect.name":"io.debezium.data.DoubleVector"}`
	connectSparse = `{"type":"record","name":"io.debezium.data.SparseDoubleVector","fields":[{"name":"dimensions","type":"int"},{"name":"vector","type":{"type":"array",
		"items":{"type":"record","name":"e","fields":[{"name":"key","type":"int"},{"name":"value","type":"double"}]}}}],"connect.name":"io.debezium.data.SparseDoubleVector"}`
	connectZonedTimestamp = `{"type":"record","name":"io.debezium.time.StructuredZonedTimestamp","fields":[{"name":"year","type":["null","int"]},{"name":"month","type":["null","int"]},
		{"name":"day","type":["null","int"]},{"name":"hour","type":["null","int"]},{"name":"nanos","type":["null","int"]},{"name":"offsetSeconds","type":["null","int"]},
		{"name":"zoneId","type":["null","string"]},{"name":"specialValue","type":["null","string"]}],"connect.name":"io.debezium.time.StructuredZonedTimestamp"}`
	connectZonedTime = `{"type":"record","name":"io.debezium.time.StructuredZonedTime","fields":[{"name":"hour","type":["null","int"]},{"name":"minute","type":["null","int"]},
		{"name":"second","type":["null","int"]},{"name":"offsetSeconds","type":["null","int"]}],"connect.name":"io.debezium.time.StructuredZonedTime"}`
	connectDuration = `{"type":"record","name":"io.debezium.time.StructuredDuration","fields":[{"name":"years","type":["null","int"]},{"name":"hours","type":["null","int"]},
		{"name":"seconds","type":["null","long"]},{"name":"nanos","type":["null","int"]}],"connect.name":"io.debezium.time.StructuredDuration"}`
)

// FuzzDecode feeds the sink's decoder with any bytes: no panic, no memory out
// of proportion, and what decodes renders as valid JSON.
func FuzzDecode(f *testing.F) {
	schemas := make([]*Schema, len(fuzzSchemas))
	decoders := make([]*Decoder, len(fuzzSchemas))
	for i, text := range fuzzSchemas {
		s, err := ParseSchema(text)
		if err != nil {
			f.Fatal(err)
		}
		schemas[i], decoders[i] = s, decoder(f, text)
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{4, 2, 2, 0x61, 0})
	}
	f.Fuzz(func(t *testing.T, pick uint8, body []byte) {
		i := int(pick) % len(schemas)
		d := decoders[i]
		var mem Memory
		row := make([]replication.Value, len(d.Columns()))
		err := d.Decode(body, row, &mem)
		if limit := 64*len(body) + 16<<20; mem.Size() > limit {
			t.Fatalf("%d bytes took %d", len(body), mem.Size())
		}
		_ = d.Text(body)
		if err != nil {
			return
		}
		for c, v := range row {
			if v.IsUnchanged() && d.omitted != nil {
				continue
			}
			if v.IsUnchanged() || !v.IsNull() && v.Kind() != d.Columns()[c].Kind {
				t.Fatalf("column %v holds %s", d.Columns()[c], v.Kind())
			}
		}
		out, err := JSON(schemas[i], body)
		if err != nil {
			t.Fatalf("decodes, but JSON says %v", err)
		}
		if !json.Valid(out) {
			t.Fatalf("no JSON: %q", out)
		}
	})
}

// FuzzSplitWire takes records apart as the sink and tail do.
func FuzzSplitWire(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 2})
	f.Add([]byte{0, 0, 0})
	f.Add([]byte(`{"id":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, body, err := SplitWire(b)
		if err == nil && (id < 0 || len(body) != len(b)-5) {
			t.Fatalf("split %x into %d and %x", b, id, body)
		}
	})
}

// FuzzParseSchema compiles any text that a registry may answer with, and reads
// any bytes by it.
func FuzzParseSchema(f *testing.F) {
	for _, s := range fuzzSchemas {
		f.Add(s, []byte{4, 2, 2, 0x61, 0})
	}
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		if len(text) > 4096 {
			return
		}
		s, err := ParseSchema(text)
		if err != nil {
			return
		}
		d, err := NewDecoder(s)
		if err != nil {
			t.Fatal(err)
		}
		row := make([]replication.Value, len(d.Columns()))
		_ = d.Decode(body, row, new(Memory))
		if out, err := JSON(s, body); err == nil && !json.Valid(out) {
			t.Fatalf("no JSON: %q", out)
		}
	})
}
