package debezium

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
)

// This file writes the types of PostGIS and pgvector.

// geometrySchema is that of shapes, too, whose extensions name their type.
func geometrySchema() *schema {
	return &schema{typ: "record", name: "io.debezium.data.geometry.Geometry", version: 2, fields: []field{
		{"wkb", plain("bytes")}, {"srid", orNull(plain("int"))}, {"extensions", orNull(&schema{typ: "map", items: plain("string")})},
	}}
}

// extension maps a type by its name; ok is false when it is none of theirs.
func extension(s step, name string) (_ step, _ *schema, ok bool) {
	switch name {
	case "geometry":
		s.op = opGeometry
		return s, geometrySchema(), true
	case "geography":
		s.op, s.mode = opGeometry, name
		return s, &schema{typ: "record", name: "io.debezium.data.geometry.Geography", version: 1, fields: []field{
			{"wkb", plain("bytes")}, {"srid", orNull(plain("int"))},
		}}, true
	case "vector":
		s.op = opVector
		return s, &schema{typ: "array", name: "io.debezium.data.DoubleVector", version: 1, items: plain("double")}, true
	case "halfvec":
		s.op, s.mode = opVector, name
		return s, &schema{typ: "array", name: "io.debezium.data.FloatVector", version: 1, items: plain("float")}, true
	case "sparsevec":
		// Connect's map of numbers, as Confluent's AvroData writes maps whose keys are
		// no texts: an array of entries.
		number := &schema{typ: "int", int16: true}
		entry := &schema{typ: "record", name: "io.confluent.connect.avro.MapEntry", nameless: true, fields: []field{{"key", number}, {"value", plain("double")}}}
		s.op = opSparseVector
		return s, &schema{typ: "record", name: "io.debezium.data.SparseDoubleVector", version: 1, fields: []field{
			{"dimensions", number}, {"vector", &schema{typ: "array", items: entry}},
		}}, true
	}
	return s, nil, false
}

// Extended well-known binary, PostGIS's form of OGC 06-103r4: a byte for the
// order, the type with flags, and the SRID if one of them says so.
const flagSRID = 0x20000000

// appendEWKB appends PostGIS's text, extended well-known binary in hexadecimal.
func (s *step) appendEWKB(dst, text []byte) ([]byte, error) {
	if len(text) < 10 || len(text)%2 != 0 {
		return dst, errForm
	}
	dst = binary.AppendVarint(dst, int64(len(text)/2))
	start := len(dst)
	dst, err := hex.AppendDecode(dst, text)
	if err != nil {
		return dst, errForm
	}
	wkb := dst[start:]
	var order binary.ByteOrder = binary.LittleEndian
	if wkb[0] == 0 {
		order = binary.BigEndian
	}
	if order.Uint32(wkb[1:])&flagSRID == 0 {
		dst = append(dst, 0)
	} else if len(wkb) < 9 {
		return dst, errForm
	} else {
		dst = binary.AppendVarint(append(dst, 2), int64(int32(order.Uint32(wkb[5:]))))
	}
	if s.mode == "geography" {
		return dst, nil
	}
	return append(dst, 0), nil // no extensions
}

// noGeometry is an empty collection of geometries, without SRID.
func (s *step) noGeometry() []byte {
	b := []byte{9 << 1, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0}
	if s.mode != "geography" {
		b = append(b, 0)
	}
	return b
}

// appendVector appends pgvector's text, [1,2.5].
func (s *step) appendVector(dst, text []byte) ([]byte, error) {
	if len(text) < 2 || text[0] != '[' || text[len(text)-1] != ']' {
		return dst, errForm
	}
	text = text[1 : len(text)-1]
	if len(text) == 0 {
		return append(dst, 0), nil
	}
	n := int64(1)
	for _, c := range text {
		if c == ',' {
			n++
		}
	}
	dst = binary.AppendVarint(dst, n)
	size := 64
	if s.mode == "halfvec" {
		size = 32
	}
	for len(text) > 0 {
		number, rest := until(text, ',')
		f, err := strconv.ParseFloat(view(number), size)
		if err != nil {
			return dst, errForm
		}
		if size == 64 {
			dst = appendDouble(dst, f)
		} else {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f)))
		}
		if text = rest; text != nil && len(text) == 0 { // a comma at the end
			return dst, errForm
		}
	}
	return append(dst, 0), nil
}

// appendSparseVector appends pgvector's text, {1:1.5,5:-2}/5. Debezium counts
// dimensions in 16 bits.
func appendSparseVector(dst, text []byte) ([]byte, error) {
	entries, size := until(text, '}')
	if len(entries) == 0 || entries[0] != '{' || len(size) == 0 || size[0] != '/' {
		return dst, errForm
	}
	entries = entries[1:]
	dimensions, err := strconv.ParseUint(view(size[1:]), 10, 31)
	if err != nil {
		return dst, errForm
	}
	if dimensions > math.MaxInt16 {
		return dst, errDimensions
	}
	dst = binary.AppendVarint(dst, int64(dimensions))
	if len(entries) == 0 {
		return append(dst, 0), nil
	}
	n := int64(1)
	for _, c := range entries {
		if c == ',' {
			n++
		}
	}
	dst = binary.AppendVarint(dst, n)
	for len(entries) > 0 {
		entry, rest := until(entries, ',')
		index, value := until(entry, ':')
		i, err1 := strconv.ParseUint(view(index), 10, 15)
		f, err2 := strconv.ParseFloat(view(value), 64)
		if err1 != nil || err2 != nil {
			return dst, errForm
		}
		dst = appendDouble(binary.AppendVarint(dst, int64(i)), f)
		if entries = rest; entries != nil && len(entries) == 0 {
			return dst, errForm
		}
	}
	return append(dst, 0), nil
}

// until returns what comes before the first c in b and what comes after it, nil
// when there is no c.
func until(b []byte, c byte) (before, after []byte) {
	for i := range b {
		if b[i] == c {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}
