package mysql

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// tableInfo is what the catalog says of a table.
type tableInfo struct {
	schema, name string
	engine       string
	estimate     int64 // rows, or -1
	columns      []column
	key          []int // of the primary key, in its order
	view         bool
}

func (t *tableInfo) column(name string) int {
	for i := range t.columns {
		if t.columns[i].name == name {
			return i
		}
	}
	return -1
}

// asker runs statements that only read: a session, or a conn.
type asker interface {
	query(ctx context.Context, sql string) ([][]cell, error)
}

// readTable looks a table up; it returns nil when there is none.
func (c *charsets) readTable(ctx context.Context, from asker, flavor Flavor, schema, name string) (*tableInfo, error) {
	t, err := c.lookUp(ctx, from, flavor, schema, name)
	if err != nil {
		return nil, fmt.Errorf("look up table %s.%s: %w", schema, name, err)
	}
	return t, nil
}

func (c *charsets) lookUp(ctx context.Context, from asker, flavor Flavor, schema, name string) (*tableInfo, error) {
	where := " WHERE TABLE_SCHEMA = " + sqlString(schema) + " AND TABLE_NAME = " + sqlString(name)
	rows, err := from.query(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_ROWS FROM information_schema.TABLES"+where)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	r := rows[0]
	t := &tableInfo{schema: r[0].text, name: r[1].text, view: strings.Contains(r[2].text, "VIEW"), engine: r[3].text, estimate: -1}
	if n, err := strconv.ParseInt(r[4].text, 10, 64); err == nil {
		t.estimate = n
	}
	checks, err := jsonChecks(ctx, from, flavor, schema, name)
	if err != nil {
		return nil, err
	}
	rows, err = from.query(ctx, "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME, CHARACTER_OCTET_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, EXTRA, COLUMN_DEFAULT FROM information_schema.COLUMNS"+
		where+" ORDER BY ORDINAL_POSITION")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		col, err := c.catalogColumn(ctx, flavor, r)
		if err != nil {
			return nil, err
		}
		if checks[col.name] && col.typ == gomysql.MYSQL_TYPE_BLOB && !col.binary() {
			col.special = "json"
		}
		t.columns = append(t.columns, col)
	}
	rows, err = from.query(ctx, "SELECT COLUMN_NAME FROM information_schema.STATISTICS"+where+" AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if i := t.column(r[0].text); i >= 0 {
			t.key = append(t.key, i)
		}
	}
	return t, nil
}

// jsonChecks returns the columns that MariaDB's JSON made: LONGTEXT with the
// constraint that it is valid.
func jsonChecks(ctx context.Context, from asker, flavor Flavor, schema, name string) (map[string]bool, error) {
	if flavor != MariaDB {
		return nil, nil
	}
	rows, err := from.query(ctx, "SELECT CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = "+
		sqlString(schema)+" AND TABLE_NAME = "+sqlString(name))
	if err != nil {
		return nil, err
	}
	checks := map[string]bool{}
	for _, r := range rows {
		if r[1].text == "json_valid("+quoteName(r[0].text)+")" {
			checks[r[0].text] = true
		}
	}
	return checks, nil
}

// catalogColumn makes of a row of information_schema.COLUMNS what a table map
// would say.
func (c *charsets) catalogColumn(ctx context.Context, flavor Flavor, r []cell) (col column, err error) {
	number := func(i int) int { n, _ := strconv.Atoi(r[i].text); return n }
	typ, full := strings.ToLower(r[1].text), r[2].text
	col = column{name: r[0].text, notNull: r[3].text == "NO", unsigned: strings.Contains(full, " unsigned"), generated: strings.Contains(r[9].text, " GENERATED")}
	octets, fraction := number(5), number(8)
	if !r[10].null {
		col.preset = defaultExpression(flavor, r[10].text, r[9].text)
	}
	if name := r[4].text; name != "" {
		if col.charset, err = c.byName(ctx, name); err != nil {
			return col, err
		}
	}
	switch typ {
	case "tinyint":
		col.typ = gomysql.MYSQL_TYPE_TINY
	case "smallint":
		col.typ = gomysql.MYSQL_TYPE_SHORT
	case "mediumint":
		col.typ = gomysql.MYSQL_TYPE_INT24
	case "int":
		col.typ = gomysql.MYSQL_TYPE_LONG
	case "bigint":
		col.typ = gomysql.MYSQL_TYPE_LONGLONG
	case "year":
		col.typ = gomysql.MYSQL_TYPE_YEAR
	case "float":
		col.typ, col.digits = gomysql.MYSQL_TYPE_FLOAT, displayDigits(full)
	case "double":
		col.typ, col.digits = gomysql.MYSQL_TYPE_DOUBLE, displayDigits(full)
	case "decimal":
		col.typ, col.size, col.scale = gomysql.MYSQL_TYPE_NEWDECIMAL, number(6), number(7)
	case "bit":
		col.typ, col.size = gomysql.MYSQL_TYPE_BIT, number(6)
	case "date":
		col.typ = gomysql.MYSQL_TYPE_NEWDATE
	case "datetime":
		col.typ, col.scale = gomysql.MYSQL_TYPE_DATETIME2, fraction
	case "timestamp":
		col.typ, col.scale = gomysql.MYSQL_TYPE_TIMESTAMP2, fraction
	case "time":
		col.typ, col.scale = gomysql.MYSQL_TYPE_TIME2, fraction
	case "enum", "set":
		col.typ = gomysql.MYSQL_TYPE_ENUM
		if typ == "set" {
			col.typ = gomysql.MYSQL_TYPE_SET
		}
		col.labels = parseLabels(full)
		col.size = labelBytes(col.typ, len(col.labels))
	case "char", "binary":
		col.typ, col.size = gomysql.MYSQL_TYPE_STRING, octets
	case "varchar", "varbinary":
		col.typ, col.size = gomysql.MYSQL_TYPE_VARCHAR, octets
	case "tinytext", "tinyblob":
		col.typ, col.size = gomysql.MYSQL_TYPE_BLOB, 1
	case "text", "blob":
		col.typ, col.size = gomysql.MYSQL_TYPE_BLOB, 2
	case "mediumtext", "mediumblob":
		col.typ, col.size = gomysql.MYSQL_TYPE_BLOB, 3
	case "longtext", "longblob":
		col.typ, col.size = gomysql.MYSQL_TYPE_BLOB, 4
	case "json":
		col.typ, col.size, col.charset = gomysql.MYSQL_TYPE_JSON, 4, nil
	case "vector":
		if flavor == MySQL {
			col.typ, col.size = gomysql.MYSQL_TYPE_VECTOR, 4
			break
		}
		// MariaDB's is a VARBINARY; octets count its bytes.
		col.typ, col.special, col.size = gomysql.MYSQL_TYPE_VARCHAR, "vector", octets
	case "uuid":
		col.typ, col.size, col.special = gomysql.MYSQL_TYPE_STRING, 16, typ
	case "inet6":
		col.typ, col.size, col.special = gomysql.MYSQL_TYPE_STRING, 16, typ
	case "inet4":
		col.typ, col.size, col.special = gomysql.MYSQL_TYPE_STRING, 4, typ
	default:
		for i, name := range geometryNames {
			if typ == name || typ == "geomcollection" && name == "geometrycollection" {
				col.typ, col.size, col.geometry = gomysql.MYSQL_TYPE_GEOMETRY, 4, i
				return col, nil
			}
		}
		return col, fmt.Errorf("column %s has the type %s, which is not supported", col.name, full)
	}
	return col, nil
}

// labelBytes is the width of an ENUM or SET of n labels.
func labelBytes(typ byte, n int) int {
	if typ == gomysql.MYSQL_TYPE_ENUM {
		if n > 255 {
			return 2
		}
		return 1
	}
	if n > 32 {
		return 8
	}
	switch n = (n + 7) / 8; n {
	case 3:
		return 3
	default:
		return max(n, 1)
	}
}

// parseLabels takes enum('a','it”s') apart.
func parseLabels(full string) (labels []string) {
	_, rest, _ := strings.Cut(full, "(")
	for {
		_, after, ok := strings.Cut(rest, "'")
		if !ok {
			return labels
		}
		var label strings.Builder
		rest = after
		for {
			text, after, ok := strings.Cut(rest, "'")
			label.WriteString(text)
			rest = after
			if !ok || !strings.HasPrefix(rest, "'") {
				break
			}
			label.WriteByte('\'')
			rest = rest[1:]
		}
		labels = append(labels, label.String())
	}
}

// sqlString quotes a text as a constant. The sessions of this package have no
// sql_mode, so that a backslash escapes.
func sqlString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
