package mysql

import (
	"context"
	"errors"
	"fmt"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// tableMap is a TABLE_MAP event: it describes the table that the row events
// after it belong to. MySQL source, "Table_map_event". The slices alias the
// event.
type tableMap struct {
	id           uint64
	schema, name []byte
	types        []byte
	meta         []byte
	nullable     []byte // bitmap
	optional     []byte
}

// readTableMap takes the event's frame apart.
func readTableMap(body []byte) (m tableMap, err error) {
	c := cursor{B: body}
	m.id = c.LE(6)
	c.LE16() // flags
	m.schema = c.Bytes(uint64(c.U8()))
	c.U8()
	m.name = c.Bytes(uint64(c.U8()))
	c.U8()
	n := c.Packed()
	m.types = c.Bytes(n)
	m.meta = c.PackedBytes()
	m.nullable = c.Bytes((n + 7) / 8)
	m.optional = c.B
	if c.Err != nil {
		return m, fmt.Errorf("read table map: %w", c.Err)
	}
	return m, nil
}

// The kinds of optional metadata: MySQL source, "Table_map_event,
// Optional_metadata_field_type".
const (
	metaSignedness = iota + 1
	metaDefaultCharset
	metaColumnCharset
	metaColumnName
	metaSetLabels
	metaEnumLabels
	metaGeometryType
	metaSimpleKey
	metaPrefixKey
	metaLabelDefaultCharset
	metaLabelCharset
	metaVisibility
)

// errNoNames says that the server logs no column names.
var errNoNames = errors.New("the log does not name the columns")

// describe makes columns and key of a table map.
func (m *tableMap) describe(ctx context.Context, cs *charsets, flavor Flavor, yearHasSign bool) (columns []column, key []int, err error) {
	if columns, err = m.shapes(); err != nil {
		return nil, nil, err
	}
	var signs []byte
	var charsets, labelCharsets collations
	var enums, sets [][][]byte
	var geometries []uint64
	named := false
	for c := (cursor{B: m.optional}); len(c.B) > 0; {
		kind := c.U8()
		f := cursor{B: c.PackedBytes()}
		if c.Err != nil {
			return nil, nil, fmt.Errorf("read table map of %s.%s: %w", m.schema, m.name, c.Err)
		}
		switch kind {
		case metaSignedness:
			signs = f.B
		case metaDefaultCharset:
			charsets.readDefault(&f)
		case metaColumnCharset:
			charsets.readEach(&f)
		case metaLabelDefaultCharset:
			labelCharsets.readDefault(&f)
		case metaLabelCharset:
			labelCharsets.readEach(&f)
		case metaColumnName:
			named = true
			for i := range columns {
				columns[i].name = string(f.Bytes(uint64(f.U8())))
			}
		case metaSetLabels:
			sets = readLabels(&f)
		case metaEnumLabels:
			enums = readLabels(&f)
		case metaGeometryType:
			for len(f.B) > 0 {
				geometries = append(geometries, f.Packed())
			}
		case metaSimpleKey, metaPrefixKey:
			for len(f.B) > 0 {
				i := f.Packed()
				if kind == metaPrefixKey {
					f.Packed() // characters; 0 for all
				}
				if f.Err == nil && i >= uint64(len(columns)) {
					f.Fail()
				} else {
					key = append(key, int(i))
				}
			}
		}
		if f.Err != nil {
			return nil, nil, fmt.Errorf("read table map of %s.%s, metadata %d: %w", m.schema, m.name, kind, f.Err)
		}
	}
	if !named {
		return nil, nil, errNoNames
	}
	var numeric, character, labelled, geometric int
	for i := range columns {
		col := &columns[i]
		switch {
		case isNumeric(col.typ) && (yearHasSign || col.typ != gomysql.MYSQL_TYPE_YEAR):
			col.unsigned = numeric/8 < len(signs) && signs[numeric/8]&(0x80>>(numeric%8)) != 0
			numeric++
		case isCharacter(col.typ, flavor):
			id, ok := charsets.of(character)
			character++
			if !ok {
				return nil, nil, errNoNames
			}
			if col.typ == gomysql.MYSQL_TYPE_GEOMETRY {
				break
			}
			if col.charset, err = cs.collation(ctx, id); err != nil {
				return nil, nil, err
			}
		case col.typ == gomysql.MYSQL_TYPE_ENUM || col.typ == gomysql.MYSQL_TYPE_SET:
			from := &enums
			if col.typ == gomysql.MYSQL_TYPE_SET {
				from = &sets
			}
			id, ok := labelCharsets.of(labelled)
			labelled++
			if !ok || len(*from) == 0 {
				return nil, nil, errNoNames
			}
			if col.charset, err = cs.collation(ctx, id); err != nil {
				return nil, nil, err
			}
			for _, l := range (*from)[0] {
				text, _, ok := col.charset.decode(l, nil)
				if !ok {
					return nil, nil, fmt.Errorf("column %s: a label is no text of character set %s", col.name, col.charset.name)
				}
				col.labels = append(col.labels, string(text))
			}
			*from = (*from)[1:]
		}
		if col.typ == gomysql.MYSQL_TYPE_GEOMETRY {
			if geometric < len(geometries) {
				col.geometry = int(min(geometries[geometric], 255))
			}
			geometric++
		}
	}
	return columns, key, nil
}

// shapes makes columns of the types and their metadata.
func (m *tableMap) shapes() ([]column, error) {
	columns := make([]column, len(m.types))
	c := cursor{B: m.meta}
	for i, typ := range m.types {
		col := &columns[i]
		col.typ = typ
		col.notNull = !bit(m.nullable, i)
		switch typ {
		case gomysql.MYSQL_TYPE_STRING:
			stored, size := c.U8(), c.U8()
			// A CHAR of more than 255 bytes has two bits of its length in the type.
			if stored&0x30 != 0x30 {
				col.size = int(size) | int(stored&0x30^0x30)<<4
				stored |= 0x30
			} else {
				col.size = int(size)
			}
			if stored == gomysql.MYSQL_TYPE_ENUM || stored == gomysql.MYSQL_TYPE_SET {
				col.typ = stored
			}
		case gomysql.MYSQL_TYPE_NEWDECIMAL:
			col.size, col.scale = int(c.U8()), int(c.U8())
		case gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING:
			col.typ, col.size = gomysql.MYSQL_TYPE_VARCHAR, int(c.LE16())
		case gomysql.MYSQL_TYPE_BIT:
			bits, whole := c.U8(), c.U8()
			col.size = int(whole)*8 + int(bits)
		case gomysql.MYSQL_TYPE_BLOB, gomysql.MYSQL_TYPE_GEOMETRY, gomysql.MYSQL_TYPE_JSON, gomysql.MYSQL_TYPE_VECTOR:
			col.size = int(c.U8())
		case gomysql.MYSQL_TYPE_FLOAT, gomysql.MYSQL_TYPE_DOUBLE:
			c.U8() // its width
		case gomysql.MYSQL_TYPE_TIME2, gomysql.MYSQL_TYPE_DATETIME2, gomysql.MYSQL_TYPE_TIMESTAMP2:
			col.scale = int(c.U8())
		case gomysql.MYSQL_TYPE_DATE:
			col.typ = gomysql.MYSQL_TYPE_NEWDATE
		case gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_SHORT, gomysql.MYSQL_TYPE_INT24, gomysql.MYSQL_TYPE_LONG, gomysql.MYSQL_TYPE_LONGLONG,
			gomysql.MYSQL_TYPE_YEAR, gomysql.MYSQL_TYPE_TIME, gomysql.MYSQL_TYPE_DATETIME, gomysql.MYSQL_TYPE_TIMESTAMP, gomysql.MYSQL_TYPE_NEWDATE:
		case 140, 141: // MariaDB's BLOB and VARCHAR with the attribute COMPRESSED
			return nil, fmt.Errorf("column %d of table %s.%s is COMPRESSED, which is not supported", i+1, m.schema, m.name)
		default:
			return nil, fmt.Errorf("column %d of table %s.%s has the type %d, which is not supported", i+1, m.schema, m.name, typ)
		}
	}
	if err := c.Finish(); err != nil {
		return nil, fmt.Errorf("read table map of %s.%s: types: %w", m.schema, m.name, err)
	}
	return columns, nil
}

// isNumeric says which columns have a sign in a table map.
func isNumeric(typ byte) bool {
	switch typ {
	case gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_SHORT, gomysql.MYSQL_TYPE_INT24, gomysql.MYSQL_TYPE_LONG, gomysql.MYSQL_TYPE_LONGLONG,
		gomysql.MYSQL_TYPE_NEWDECIMAL, gomysql.MYSQL_TYPE_FLOAT, gomysql.MYSQL_TYPE_DOUBLE, gomysql.MYSQL_TYPE_YEAR:
		return true
	}
	return false
}

// isCharacter says which columns have a collation in a table map.
func isCharacter(typ byte, flavor Flavor) bool {
	switch typ {
	case gomysql.MYSQL_TYPE_STRING, gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_BLOB:
		return true
	case gomysql.MYSQL_TYPE_GEOMETRY:
		return flavor == MariaDB
	}
	return false
}

// collations are the ids of the collations of the character columns, by their
// number among these.
type collations struct {
	each   []uint64
	most   uint64
	others map[uint64]uint64
	known  bool
}

func (l *collations) readEach(c *cursor) {
	l.known = true
	for len(c.B) > 0 {
		l.each = append(l.each, c.Packed())
	}
}

func (l *collations) readDefault(c *cursor) {
	l.known, l.others = true, map[uint64]uint64{}
	l.most = c.Packed()
	for len(c.B) > 0 {
		column := c.Packed()
		l.others[column] = c.Packed()
	}
}

func (l *collations) of(n int) (uint64, bool) {
	if l.others != nil {
		if id, ok := l.others[uint64(n)]; ok {
			return id, true
		}
		return l.most, true
	}
	if n < len(l.each) {
		return l.each[n], true
	}
	return 0, false
}

func readLabels(c *cursor) (all [][][]byte) {
	for len(c.B) > 0 {
		n := c.Packed()
		var labels [][]byte
		for range min(n, uint64(len(c.B))) {
			labels = append(labels, c.PackedBytes())
		}
		all = append(all, labels)
	}
	return all
}
