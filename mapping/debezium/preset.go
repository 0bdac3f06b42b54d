package debezium

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"cdc/replication"
)

// presetOf returns the default that Debezium puts into the schema of a column,
// as JSON: that of a literal, and the type's zero for a function's. Types whose
// defaults it does not know have none.
func presetOf(o *Options, c replication.Column, s *step, sch *schema) (string, bool) {
	if o.binlog && c.Default != "" {
		return binlogPreset(o, c, s, sch)
	}
	if c.Default == "" || c.Kind == replication.KindArray {
		return "", false
	}
	switch s.op {
	case opBytes, opBytesText, opVariable, opMoney, opOID, opHStoreJSON, opHStoreMap, opPoint, opLine, opCircle, opShape, opGeometry, opVector, opSparseVector, opStructured, opZonedTime:
		return "", false
	case opText:
		if name, _ := typeName(c); sch.name == "" && !characters[name] && s.kind != replication.KindDecimal {
			return "", false // inet, ranges, …
		}
	default: // the others have theirs
	}
	text, ok := literal(c.Default)
	if !ok {
		return zeroOf(s, sch), function(c.Default)
	}
	v, ok := parse(c, s, text)
	if !ok {
		return "", false
	}
	b, err := s.appendValue(nil, &v)
	if err != nil {
		return "", false
	}
	return asJSON(sch, b), true
}

// function reports whether a default is a call: nextval('s'::regclass), now(),
// CURRENT_TIMESTAMP.
func function(expr string) bool {
	if strings.HasPrefix(expr, "CURRENT_") || strings.HasPrefix(expr, "LOCALTIME") {
		return true
	}
	name, _, call := strings.Cut(expr, "(")
	return call && name != "" && strings.HasSuffix(expr, ")") && !strings.ContainsAny(name, " :'")
}

// characters are the types of which Debezium reads defaults as they stand.
var characters = map[string]bool{
	"text": true, "character varying": true, "character": true, "bpchar": true, "char": true, `"char"`: true, "name": true, "citext": true,
}

// literal returns the text of a constant as pg_get_expr prints it: 5,
// '-5'::integer, 'it”s'::text, true.
func literal(expr string) (string, bool) {
	if expr == "" {
		return "", false
	}
	if strings.HasPrefix(expr, "B'") { // a bit string
		expr = expr[1:]
	}
	if expr[0] != '\'' {
		number, _, _ := strings.Cut(expr, "::")
		if _, err := strconv.ParseFloat(number, 64); err == nil && (digit(number[0]) || number[0] == '-') {
			return number, true
		}
		return expr, expr == "true" || expr == "false"
	}
	var b strings.Builder
	for i := 1; i < len(expr); i++ {
		if expr[i] == '\'' {
			if i+1 == len(expr) || expr[i+1] != '\'' {
				rest := expr[i+1:]
				return b.String(), rest == "" || strings.HasPrefix(rest, "::") && !strings.ContainsAny(rest, "'+*/|")
			}
			i++
		}
		b.WriteByte(expr[i])
	}
	return "", false
}

// parse makes a Value of a column's kind from a literal's text.
func parse(c replication.Column, s *step, text string) (replication.Value, bool) {
	switch c.Kind {
	case replication.KindBool:
		return replication.BoolValue(text == "true" || text == "t"), true
	case replication.KindInt:
		n, err := strconv.ParseInt(text, 10, int(c.Bits))
		return replication.IntValue(n), err == nil
	case replication.KindFloat:
		f, err := strconv.ParseFloat(text, int(c.Bits))
		return replication.FloatValue(f), err == nil
	case replication.KindDecimal:
		if s.op == opText { // with the column's scale
			whole, fraction, _ := strings.Cut(text, ".")
			if c.Scale > len(fraction) {
				text = whole + "." + fraction + strings.Repeat("0", c.Scale-len(fraction))
			}
		}
		return replication.StringValue(c.Kind, text), true
	case replication.KindString, replication.KindJSON:
		return replication.StringValue(c.Kind, text), true
	case replication.KindUUID:
		u, ok := uuid(text)
		return replication.BytesValue(c.Kind, u), ok
	case replication.KindDate:
		t, err := time.Parse("2006-01-02", text)
		return replication.NumValue(c.Kind, t.Unix()/86400), err == nil
	case replication.KindTime:
		us, rest, ok := clock([]byte(text))
		return replication.NumValue(c.Kind, us), ok && len(rest) == 0
	case replication.KindTimestamp:
		t, err := time.Parse("2006-01-02 15:04:05", text)
		return replication.NumValue(c.Kind, t.UnixMicro()), err == nil
	case replication.KindTimestampTZ:
		t, err := time.Parse("2006-01-02 15:04:05-07", text)
		return replication.NumValue(c.Kind, t.UnixMicro()), err == nil
	default:
		return replication.Null, false
	}
}

func uuid(text string) ([]byte, bool) {
	digits := strings.ReplaceAll(text, "-", "")
	var u [16]byte
	if len(digits) != 32 {
		return nil, false
	}
	for i := range u {
		n, err := strconv.ParseUint(digits[2*i:2*i+2], 16, 8)
		if err != nil {
			return nil, false
		}
		u[i] = byte(n)
	}
	return u[:], true
}

// zeroOf is a type's zero as JSON, in the form that Debezium gives it.
func zeroOf(s *step, sch *schema) string { return asJSON(sch, zero(s, sch)) }

// zero is the encoding of a type's zero: 0, "", the beginning of 1970.
func zero(s *step, sch *schema) []byte {
	switch s.op {
	case opISODate, opISOTime, opISOTimestamp, opZoned:
		v := replication.NumValue(s.kind, 0)
		b, _ := s.appendValue(nil, &v)
		return b
	case opUUID:
		v := replication.BytesValue(replication.KindUUID, make([]byte, 16))
		b, _ := s.appendValue(nil, &v)
		return b
	case opZonedTime:
		return appendString(nil, "00:00:00Z")
	case opISOInterval:
		return appendString(nil, "P0Y0M0DT0H0M0S")
	case opPoint:
		return appendPoint(nil, 0, 0)
	case opLine:
		return make([]byte, 24)
	case opCircle:
		return appendDouble(appendPoint(nil, 0, 0), 0)
	case opShape:
		return []byte{0, 0, 0}
	case opGeometry:
		return s.noGeometry()
	case opSparseVector:
		return []byte{0, 0}
	case opStructured:
		return s.zeroStructured()
	case opVariable:
		return []byte{0, 2, 0}
	default: // as their schema's type
	}
	if sch.name == decimalName {
		return []byte{2, 0}
	}
	switch sch.typ {
	case "float":
		return make([]byte, 4)
	case "double":
		return make([]byte, 8)
	}
	return []byte{0} // false, 0, the empty text, array or map
}

// complete fills in what stands for values that nothing is known of.
func (s *step) complete(o *Options, sch *schema) error {
	if s.nullable {
		s.absent = []byte{s.null}
	} else if s.absent = zero(s, sch); sch.preset != "" {
		b, err := fromJSON(sch)
		if err != nil {
			return err
		}
		s.absent = b
	}
	if o.binlog && !s.nullable && sch.preset == "" {
		s.absent = binlogZero(s, sch)
	}
	switch s.op {
	case opText, opBytes, opHStoreJSON, opBytesText:
		s.unavailable = appendString(s.branch(), o.Unavailable)
	case opArray:
		if s.elem.op == opText {
			s.unavailable = append(appendString(append(s.branch(), 2, 2), o.Unavailable), 0)
		}
	default: // no placeholder can be told from their values
	}
	return nil
}

func (s *step) branch() []byte {
	if s.nullable {
		return []byte{s.value}
	}
	return nil
}

// asJSON is an encoded value as the default in a schema.
func asJSON(sch *schema, b []byte) string {
	switch sch.typ {
	case "boolean":
		return strconv.FormatBool(b[0] == 1)
	case "int", "long":
		n, _ := binary.Varint(b)
		return strconv.FormatInt(n, 10)
	case "float":
		f := math.Float32frombits(binary.LittleEndian.Uint32(b))
		return javaNumber(float64(f), 32)
	case "double":
		return javaNumber(math.Float64frombits(binary.LittleEndian.Uint64(b)), 64)
	}
	_, n := binary.Varint(b)
	body := b[n:]
	if sch.typ == "bytes" { // a character a byte
		r := make([]rune, len(body))
		for i, c := range body {
			r[i] = rune(c)
		}
		body = []byte(string(r))
	}
	return string(quote(nil, string(body)))
}

// fromJSON is the encoding of a schema's default.
func fromJSON(sch *schema) ([]byte, error) {
	decode := json.NewDecoder(strings.NewReader(sch.preset))
	decode.UseNumber()
	var v any
	if err := decode.Decode(&v); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case bool:
		return appendBool(nil, v), nil
	case json.Number:
		switch sch.typ {
		case "float":
			f, err := strconv.ParseFloat(string(v), 32)
			return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(f))), err
		case "double":
			f, err := v.Float64()
			return appendDouble(nil, f), err
		}
		n, err := v.Int64()
		return binary.AppendVarint(nil, n), err
	case string:
		if sch.typ == "bytes" {
			var b bytes.Buffer
			for _, r := range v {
				b.WriteByte(byte(r))
			}
			return appendBytes(nil, b.Bytes()), nil
		}
		return appendString(nil, v), nil
	}
	return nil, errForm
}

// javaNumber prints a number as Java's Double.toString and Float.toString do:
// with a point always, and an exponent below a thousandth and from ten million.
func javaNumber(f float64, bits int) string {
	if a := math.Abs(f); a != 0 && (a < 1e-3 || a >= 1e7) {
		s := strconv.FormatFloat(f, 'E', -1, bits)
		mantissa, exponent, _ := strings.Cut(s, "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		n, _ := strconv.Atoi(exponent)
		return mantissa + "E" + strconv.Itoa(n)
	}
	s := strconv.FormatFloat(f, 'f', -1, bits)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
