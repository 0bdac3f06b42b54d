package avro

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"

	"cdc/replication"
)

// This file reads Debezium's geometries and vectors: PostGIS's and PostgreSQL's
// own shapes, and those of pgvector.

var errShape = errors.New("well-known binary that is no shape of PostgreSQL's")

// Flags of the type in PostGIS's extended well-known binary, and the types that
// PostgreSQL's shapes have (OGC 06-103r4).
const (
	flagSRID      = 0x20000000
	wkbLineString = 2
	wkbPolygon    = 3
)

// compileShape finds how a record or an array of that name is read.
func compileShape(name string, n *node, s *readStep, c *replication.Column) bool {
	geometry := func() bool {
		return n.typ == typeRecord && len(n.fields) >= 2 && n.fields[0].name == "wkb" && n.fields[0].node.typ == typeBytes && n.fields[1].name == "srid"
	}
	numbers := func(n *node) bool {
		return n.typ == typeArray && (n.items.typ == typeDouble || n.items.typ == typeFloat)
	}
	switch {
	case name == "io.debezium.data.geometry.Geometry" && geometry():
		s.op = decodeConnectGeometry // the type is told by a value's extensions, if at all
	case name == "io.debezium.data.geometry.Geography" && geometry():
		s.op, c.TypeName = decodeConnectGeometry, "geography"
	case name == "io.debezium.data.DoubleVector" && numbers(n):
		s.op, c.TypeName = decodeConnectVector, "vector"
	case name == "io.debezium.data.FloatVector" && numbers(n):
		s.op, c.TypeName = decodeConnectVector, "halfvec"
	case name == "io.debezium.data.SparseDoubleVector" && sparse(n):
		s.op, c.TypeName = decodeConnectSparse, "sparsevec"
	default:
		return false
	}
	s.kind, c.Kind = replication.KindString, replication.KindString
	return true
}

// sparse reports whether n is the record of a sparse vector.
func sparse(n *node) bool {
	if n.typ != typeRecord || len(n.fields) != 2 || n.fields[0].node.typ != typeInt || n.fields[1].node.typ != typeArray {
		return false
	}
	entry := n.fields[1].node.items
	return entry.typ == typeRecord && len(entry.fields) == 2 && entry.fields[0].node.typ == typeInt && entry.fields[1].node.typ == typeDouble
}

// readGeometry turns well-known binary into hexadecimal with the SRID inside, as
// PostGIS takes it, or into the text of the shape that the extensions name.
func (s *readStep) readGeometry(c *cursor, dst *replication.Value, mem *Memory) {
	wkb := c.bytes()
	var srid int64
	shape, closed := "", false
	for _, f := range s.node.fields[1:] {
		switch f.name {
		case "srid":
			srid = optionalInt(c, f.node)
		case "extensions":
			shape, closed = readExtensions(c, f.node)
		default:
			skip(c, f.node, 0)
		}
	}
	if c.err != nil {
		return
	}
	start := len(mem.bytes)
	if shape != "" {
		var ok bool
		if mem.bytes, ok = appendShape(mem.bytes, wkb, shape, closed); !ok {
			c.fail(errShape)
			return
		}
	} else {
		mem.bytes = appendEWKB(mem.bytes, wkb, srid)
	}
	s.bounded(c, dst, mem, start)
}

// bounded makes what was appended to mem since start the value, unless it is out
// of proportion.
func (s *readStep) bounded(c *cursor, dst *replication.Value, mem *Memory, start int) {
	if len(mem.bytes) > c.limit {
		c.fail(errOutput)
	}
	if c.err == nil {
		s.text(dst, mem, start)
	}
}

// optionalInt reads an int, or a union of one with null, which is 0.
func optionalInt(c *cursor, n *node) int64 {
	if n.typ == typeUnion {
		i := c.index(len(n.branches), errBranch)
		if c.err != nil {
			return 0
		}
		n = n.branches[i]
	}
	if n.typ == typeInt || n.typ == typeLong {
		return c.long()
	}
	skip(c, n, 0)
	return 0
}

// readExtensions reads the map of a shape's type and whether a path is closed.
func readExtensions(c *cursor, n *node) (shape string, closed bool) {
	if n.typ == typeUnion {
		i := c.index(len(n.branches), errBranch)
		if c.err != nil {
			return "", false
		}
		n = n.branches[i]
	}
	if n.typ != typeMap || n.items.typ != typeString {
		skip(c, n, 0)
		return "", false
	}
	for c.err == nil {
		count, _ := c.block()
		if count == 0 {
			break
		}
		for ; count > 0 && c.err == nil; count-- {
			at := c.pos
			key, value := c.bytes(), c.bytes()
			switch string(key) {
			case "type":
				shape = string(value)
			case "closed":
				closed = string(value) == "true"
			}
			c.item(at)
		}
	}
	return shape, closed
}

// appendEWKB appends well-known binary in hexadecimal, as PostGIS prints it, with
// the SRID, if there is one and it is not in there.
func appendEWKB(dst, wkb []byte, srid int64) []byte {
	if len(wkb) < 5 || srid == 0 || byteOrder(wkb).Uint32(wkb[1:])&flagSRID != 0 {
		return appendUpperHex(dst, wkb)
	}
	order := byteOrder(wkb)
	head := [9]byte{wkb[0]}
	order.PutUint32(head[1:], order.Uint32(wkb[1:])|flagSRID)
	order.PutUint32(head[5:], uint32(srid))
	return appendUpperHex(appendUpperHex(dst, head[:]), wkb[5:])
}

func appendUpperHex(dst, b []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range b {
		dst = append(dst, digits[c>>4], digits[c&15])
	}
	return dst
}

func byteOrder(wkb []byte) binary.ByteOrder {
	if wkb[0] == 0 {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// appendShape appends PostgreSQL's text of a shape.
func appendShape(dst, wkb []byte, shape string, closed bool) ([]byte, bool) {
	if len(wkb) < 9 {
		return dst, false
	}
	order := byteOrder(wkb)
	kind, body := order.Uint32(wkb[1:]), wkb[5:]
	if kind == wkbPolygon { // of one ring
		if order.Uint32(body) != 1 || len(body) < 8 {
			return dst, false
		}
		body = body[4:]
	} else if kind != wkbLineString {
		return dst, false
	}
	n := int64(order.Uint32(body))
	if body = body[4:]; n < 1 || int64(len(body)) != 16*n {
		return dst, false
	}
	number := func(i int64) float64 { return math.Float64frombits(order.Uint64(body[8*i:])) }
	points := make([]int64, 0, 8)
	open, end := byte('('), byte(')')
	switch shape {
	case "box": // the first and the third corner of five
		if n != 5 {
			return dst, false
		}
		points, open, end = append(points, 0, 2), 0, 0
	case "lseg", "path":
		if shape == "lseg" || !closed {
			open, end = '[', ']'
		}
		for i := range n {
			points = append(points, i)
		}
	case "polygon": // the last point is the first
		for i := range n - 1 {
			points = append(points, i)
		}
	default:
		return dst, false
	}
	if open != 0 {
		dst = append(dst, open)
	}
	for i, p := range points {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendFloat(append(dst, '('), number(2*p), 'g', -1, 64)
		dst = append(strconv.AppendFloat(append(dst, ','), number(2*p+1), 'g', -1, 64), ')')
	}
	if end != 0 {
		dst = append(dst, end)
	}
	return dst, true
}

// readVector turns an array of numbers into pgvector's text.
func (s *readStep) readVector(c *cursor, dst *replication.Value, mem *Memory) {
	start := len(mem.bytes)
	if s.node.items.typ == typeFloat {
		mem.list(c, '[', func(b []byte) []byte { return strconv.AppendFloat(b, c.float(), 'g', -1, 32) })
	} else {
		mem.list(c, '[', func(b []byte) []byte { return strconv.AppendFloat(b, c.double(), 'g', -1, 64) })
	}
	mem.bytes = append(mem.bytes, ']')
	s.bounded(c, dst, mem, start)
}

// readSparse turns a sparse vector into pgvector's text.
func (s *readStep) readSparse(c *cursor, dst *replication.Value, mem *Memory) {
	dimensions := c.int()
	start := len(mem.bytes)
	mem.list(c, '{', func(b []byte) []byte {
		b = append(strconv.AppendInt(b, c.int(), 10), ':')
		return strconv.AppendFloat(b, c.double(), 'g', -1, 64)
	})
	mem.bytes = strconv.AppendInt(append(mem.bytes, '}', '/'), dimensions, 10)
	s.bounded(c, dst, mem, start)
}

// list reads an array or a map in blocks: it appends open and then what one
// appends of each item, separated by commas.
func (m *Memory) list(c *cursor, open byte, one func([]byte) []byte) {
	m.bytes = append(m.bytes, open)
	first := true
	for c.err == nil {
		count, _ := c.block()
		if count == 0 {
			return
		}
		for ; count > 0 && c.err == nil; count-- {
			if !first {
				m.bytes = append(m.bytes, ',')
			}
			first = false
			m.bytes = one(m.bytes)
		}
	}
}
