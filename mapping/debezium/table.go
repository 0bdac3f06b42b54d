package debezium

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"cdc/mapping/avro"
	"cdc/replication"
)

// Table is how the rows of one version of a table are written. It is immutable.
type Table struct {
	// KeySchema is "" for a table without a key.
	KeySchema, ValueSchema string
	// Fields are the names of the fields in the order of the specs.
	Fields []string

	columns   []column
	key       []column
	keyFields []string
	// head and tail are the parts of the source block that are the same for all
	// rows: version, connector and name; schema and table.
	head, db, tail []byte
	binlog         bool
}

// Source names where rows come from.
type Source struct {
	Connector string // postgresql
	Name      string // topic.prefix
	Database  string
}

// Compile makes the Table for the columns in specs, of which keys (indexes into
// rows, in the key's order) are the key. A field is named as its column, with
// each character that Avro does not allow as an underscore; where two would be
// named alike, as avro.Name names them.
func Compile(o Options, src Source, t *replication.Table, specs []avro.FieldSpec, keys []int) (*Table, error) {
	if err := o.complete(src.Connector); err != nil {
		return nil, err
	}
	name := o.fullName(src.Name, t.Schema, t.Name)
	c := &Table{Fields: o.fieldNames(specs), binlog: o.binlog}
	fields := make([]field, len(specs))
	bySource := map[int]int{}
	for i, spec := range specs {
		s, sch, err := compile(&o, spec.Column.Name, spec.Column)
		if err != nil {
			return nil, err
		}
		c.columns = append(c.columns, column{spec.Column.Name, spec.Source, s, sch})
		fields[i] = field{c.Fields[i], sch}
		bySource[spec.Source] = i
	}
	c.ValueSchema = envelopeSchema(src.Connector, name, fields).String()
	if len(keys) > 0 {
		key := &schema{typ: "record", name: name + ".Key"}
		for _, k := range keys {
			i, ok := bySource[k]
			if !ok {
				return nil, fmt.Errorf("column %d of the key is not published", k)
			}
			col := specs[i].Column
			col.NotNull = true
			s, sch, err := compile(&o, col.Name, col)
			if err != nil {
				return nil, err
			}
			s.zeroDates = false // which would make one row of two
			c.key = append(c.key, column{col.Name, k, s, sch})
			c.keyFields = append(c.keyFields, c.Fields[i])
			key.fields = append(key.fields, field{c.Fields[i], sch})
		}
		c.KeySchema = key.String()
	}
	c.head = appendString(appendString(appendString(nil, versions[src.Connector]), src.Connector), src.Name)
	c.db = appendString(nil, src.Database)
	c.tail = appendString(appendString(nil, t.Schema), t.Name)
	if o.binlog {
		c.db = appendString(nil, t.Schema)
		c.tail = appendString([]byte{2}, t.Name)
	}
	return c, nil
}

var errKey = errors.New("a column of the key has no value")

// AppendKey appends the key of row under the schema's id in the wire format of
// the schema registry. After an error what was appended is of no use.
func (t *Table) AppendKey(dst []byte, id int, row []replication.Value) ([]byte, error) {
	dst = binary.BigEndian.AppendUint32(append(dst, 0), uint32(id))
	for i := range t.key {
		c := &t.key[i]
		v := &row[c.source]
		if v.IsNull() || v.IsUnchanged() {
			return dst, fmt.Errorf("column %s: %w", c.name, errKey)
		}
		var err error
		if dst, err = c.step.append(dst, v, true); err != nil {
			return dst, fmt.Errorf("column %s: %s: %w", c.name, v, err)
		}
	}
	return dst, nil
}

// Event is what an envelope says beside the rows.
type Event struct {
	Op            byte                // c, u, d, r, t
	Before, After []replication.Value // nil is null
	// CommitTime and Now are microseconds and nanoseconds since 1970-01-01 UTC.
	CommitTime, Now int64
	Snapshot        string // "false", or what snapshot the row is of
	TxID            int64  // 0 is null
	LSN             int64
	Place           Place // in its transaction
	// Log is where it stands in a binary log, Tx the transaction's id, and Row the
	// number of the row in its event.
	Log *replication.LogEvent
	Tx  []byte
	Row int64
}

// AppendValue appends the envelope of e under the schema's id.
func (t *Table) AppendValue(dst []byte, id int, e *Event) ([]byte, error) {
	dst = binary.BigEndian.AppendUint32(append(dst, 0), uint32(id))
	var err error
	if dst, err = t.appendRow(dst, e.Before, false); err != nil {
		return dst, err
	}
	if dst, err = t.appendRow(dst, e.After, true); err != nil {
		return dst, err
	}
	dst = t.appendSource(dst, e)
	dst = append(e.Place.append(dst), 2, e.Op)
	dst = binary.AppendVarint(append(dst, 2), floor(e.Now, 1e6))
	dst = binary.AppendVarint(append(dst, 2), floor(e.Now, 1e3))
	return binary.AppendVarint(append(dst, 2), e.Now), nil
}

func (t *Table) appendRow(dst []byte, row []replication.Value, after bool) ([]byte, error) {
	if row == nil {
		return append(dst, 0), nil
	}
	dst = append(dst, 2)
	for i := range t.columns {
		c := &t.columns[i]
		var err error
		if dst, err = c.step.append(dst, &row[c.source], after); err != nil {
			return dst, fmt.Errorf("column %s: %s: %w", c.name, row[c.source], err)
		}
	}
	return dst, nil
}

func (t *Table) appendSource(dst []byte, e *Event) []byte {
	dst = append(dst, t.head...)
	dst = binary.AppendVarint(dst, floor(e.CommitTime, 1000))
	dst = appendString(append(dst, 0), e.Snapshot)
	dst = append(dst, t.db...)
	if t.binlog {
		dst = append(dst, 0) // sequence
	} else {
		dst = appendSequence(append(dst, 2), e.LSN)
	}
	dst = binary.AppendVarint(append(dst, 2), e.CommitTime)
	nanos := e.CommitTime * 1000
	if e.CommitTime > math.MaxInt64/1000 || e.CommitTime < math.MinInt64/1000 {
		dst = append(dst, 0)
	} else {
		dst = binary.AppendVarint(append(dst, 2), nanos)
	}
	if t.binlog {
		return t.appendBinlogSource(dst, e)
	}
	dst = append(dst, t.tail...)
	if e.TxID == 0 {
		dst = append(dst, 0)
	} else {
		dst = binary.AppendVarint(append(dst, 2), e.TxID)
	}
	dst = binary.AppendVarint(append(dst, 2), e.LSN)
	return append(dst, 0, 0, 0) // xmin, origin, origin_lsn
}

// appendSequence appends source.sequence, a JSON array of two positions as
// texts.
func appendSequence(dst []byte, lsn int64) []byte {
	var buf [20]byte
	digits := strconv.AppendInt(buf[:0], lsn, 10)
	dst = binary.AppendVarint(dst, int64(2*len(digits)+7))
	dst = append(append(dst, `["`...), digits...)
	dst = append(append(dst, `","`...), digits...)
	return append(dst, `"]`...)
}

// floor is n/d, rounded down.
func floor(n, d int64) int64 {
	q := n / d
	if n%d < 0 {
		q--
	}
	return q
}

// KeyJSON appends the key of row as JSON, as Connect's JSON converter renders it
// in the headers of a changed key.
func (t *Table) KeyJSON(dst []byte, row []replication.Value) ([]byte, error) {
	dst = append(dst, '{')
	for i := range t.key {
		c := &t.key[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		b, err := c.step.append(nil, &row[c.source], true)
		if err != nil {
			return dst, fmt.Errorf("column %s: %w", c.name, err)
		}
		dst = append(appendJSONText(dst, []byte(t.keyFields[i])), ':')
		dst, _ = appendJSON(dst, c.schema, b)
	}
	return append(dst, '}'), nil
}

// appendJSON renders an encoded value and returns what is left of b. Arrays and
// maps, which no key has, are null.
func appendJSON(dst []byte, s *schema, b []byte) (out, rest []byte) {
	if s.optional {
		null := byte(0)
		if s.preset != "" {
			null = 2
		}
		if b[0] == null {
			return append(dst, "null"...), b[1:]
		}
		b = b[1:]
	}
	switch s.typ {
	case "boolean":
		return strconv.AppendBool(dst, b[0] == 1), b[1:]
	case "int", "long":
		n, w := binary.Varint(b)
		return strconv.AppendInt(dst, n, 10), b[w:]
	case "float":
		return append(dst, javaNumber(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 32)...), b[4:]
	case "double":
		return append(dst, javaNumber(math.Float64frombits(binary.LittleEndian.Uint64(b)), 64)...), b[8:]
	case "string", "bytes":
		n, w := binary.Varint(b)
		text := b[w : w+int(n)]
		if s.name == decimalName {
			return appendScaled(dst, text, s.scale), b[w+int(n):]
		}
		if s.typ == "bytes" {
			return append(base64.StdEncoding.AppendEncode(append(dst, '"'), text), '"'), b[w+int(n):]
		}
		return appendJSONText(dst, text), b[w+int(n):]
	case "record":
		dst = append(dst, '{')
		for i, f := range s.fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, b = appendJSON(append(appendJSONText(dst, []byte(f.name)), ':'), f.schema, b)
		}
		return append(dst, '}'), b
	}
	return append(dst, "null"...), nil
}

// appendScaled appends an unscaled number in two's complement as a decimal.
func appendScaled(dst, unscaled []byte, scale int) []byte {
	n := new(big.Int).SetBytes(unscaled)
	if len(unscaled) > 0 && unscaled[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(unscaled))))
	}
	if n.Sign() < 0 {
		dst = append(dst, '-')
		n.Neg(n)
	}
	digits := n.String()
	if short := scale + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	dst = append(dst, digits[:len(digits)-scale]...)
	if scale > 0 {
		dst = append(append(dst, '.'), digits[len(digits)-scale:]...)
	}
	return dst
}
