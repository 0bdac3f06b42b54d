package route

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"

	"cdc/mapping"
	"cdc/mapping/avro"
	"cdc/replication"
)

// headers appends the headers: the id, those of columns, those of the JSON
// object, and the trace context.
func (m *Mapper) headers(p *plan, c *replication.Change, out *mapping.Records) error {
	msg := &m.msg
	if name := p.box.IDHeader; name != "" && msg.id != nil {
		out.Headers = append(out.Headers, mapping.Header{Key: name, Value: keep(out, msg.id)})
	}
	for _, e := range p.extra {
		v := c.After[e.column]
		h := mapping.Header{Key: e.name}
		if !v.IsNull() {
			start := len(out.Buf)
			b, err := appendHeader(out.Buf, v, p.box.debezium)
			if err != nil {
				return fmt.Errorf("header %s: %w", e.name, err)
			}
			out.Buf = b
			h.Value = b[start:len(b):len(b)]
		}
		out.Headers = append(out.Headers, h)
	}
	first := len(out.Headers)
	if len(msg.headers) > 0 {
		err := m.scratch.Object(msg.headers, func(f avro.Member) error {
			h := mapping.Header{Key: m.topics.intern(f.Name)}
			switch {
			case f.Null:
			case f.Compound:
				h.Value = keep(out, f.Raw)
			default:
				h.Value = keep(out, f.Text)
			}
			out.Headers = append(out.Headers, h)
			return nil
		})
		if err != nil {
			return fmt.Errorf("headers: %w", err)
		}
	}
	return m.traceHeaders(out, first)
}

// appendHeader appends a column's value as a header; with debezium times as its
// semantic types count them, and numbers as Connect's SimpleHeaderConverter
// writes them.
func appendHeader(dst []byte, v replication.Value, debezium bool) ([]byte, error) {
	if debezium {
		switch v.Kind() {
		case replication.KindTimestamp, replication.KindDate, replication.KindTime:
			return strconv.AppendInt(dst, v.Int(), 10), nil
		case replication.KindTimestampTZ:
			return time.UnixMicro(v.Int()).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z"), nil
		case replication.KindFloat:
			return appendJavaDouble(dst, v.Float()), nil
		default: // as text
		}
	}
	return mapping.AppendText(dst, v)
}

// appendJavaDouble appends a number as Java's Double.toString writes it.
func appendJavaDouble(dst []byte, f float64) []byte {
	switch abs := math.Abs(f); {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 0):
		if f < 0 {
			dst = append(dst, '-')
		}
		return append(dst, "Infinity"...)
	case abs == 0, abs >= 1e-3 && abs < 1e7:
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
		if !bytes.ContainsRune(dst[start:], '.') {
			dst = append(dst, ".0"...)
		}
		return dst
	}
	var buf [32]byte
	mantissa, exponent, _ := bytes.Cut(strconv.AppendFloat(buf[:0], f, 'e', -1, 64), []byte("e"))
	dst = append(dst, mantissa...)
	if !bytes.ContainsRune(mantissa, '.') {
		dst = append(dst, ".0"...)
	}
	dst = append(dst, 'E')
	if exponent[0] == '-' {
		dst = append(dst, '-')
	}
	return append(dst, bytes.TrimLeft(exponent[1:], "0")...)
}
