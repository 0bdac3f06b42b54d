package mysql

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"cdc/internal/services"
	"cdc/replication"
	"cdc/sink"
)

func micros(k replication.Kind, n int64) replication.Value { return replication.NumValue(k, n) }

func bytesOf(k replication.Kind, s string) replication.Value { return replication.StringValue(k, s) }

func list(v ...replication.Value) replication.Value { return replication.ArrayValue(v) }

const (
	kBool, kInt, kUint, kFloat = replication.KindBool, replication.KindInt, replication.KindUint, replication.KindFloat
	kDec, kStr, kBytes, kDate  = replication.KindDecimal, replication.KindString, replication.KindBytes, replication.KindDate
	kTime, kStamp, kStampTZ    = replication.KindTime, replication.KindTimestamp, replication.KindTimestampTZ
	kUUID, kJSON, kArray       = replication.KindUUID, replication.KindJSON, replication.KindArray
)

var aUUID = bytesOf(kUUID, "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef")

// literal is a value for a column of the target, and the SQL expression that the
// server itself has for it; "" says that the column cannot hold it.
type literal struct {
	typ  string
	kind replication.Kind
	bits uint8
	v    replication.Value
	sql  string
}

// cells covers every kind, its edges, and targets of other types than the
// source's. Expectations are written for the server, not taken from our
// literals.
func cells() []literal {
	inf, ninf := replication.Infinity, replication.NegInfinity
	flag := replication.BoolValue
	return []literal{
		{"boolean", kBool, 0, flag(true), "true"},
		{"boolean", kBool, 0, flag(false), "false"},
		{"bit(1)", kBool, 0, flag(true), "b'1'"},
		{"varchar(5)", kBool, 0, flag(true), "'true'"},
		{"smallint", kInt, 16, num(-32768), "-32768"},
		{"int", kInt, 32, num(2147483647), "2147483647"},
		{"int", kInt, 64, num(2147483648), ""},
		{"bigint", kInt, 64, num(math.MinInt64), "-9223372036854775808"},
		{"bigint unsigned", kUint, 64, replication.UintValue(math.MaxUint64), "18446744073709551615"},
		{"bigint", kUint, 64, replication.UintValue(math.MaxUint64), ""},
		{"decimal(20,0)", kUint, 64, replication.UintValue(math.MaxUint64), "18446744073709551615"},
		{"int unsigned", kInt, 32, num(-1), ""},
		{"year", kInt, 16, num(2155), "2155"},
		{"year", kInt, 16, num(2156), ""},
		{"year", kInt, 16, num(0), "0"},
		{"year", kInt, 16, num(26), ""}, // to the server: 2026
		{"year", kInt, 16, num(-1), ""},
		{"year", kInt, 64, num(10000), ""},
		{"bit(8)", kUint, 8, replication.UintValue(5), "b'00000101'"},
		{"bit(4)", kUint, 8, replication.UintValue(16), ""},
		{"bit(64)", kDec, 0, bytesOf(kDec, "18446744073709551615"), "18446744073709551615"},
		{"bit(4)", kStr, 0, str("0101"), "b'0101'"},
		{"bit(4)", kStr, 0, str("11111"), ""},
		{"bit(4)", kStr, 0, str("1' OR 1"), ""},
		{"float", kFloat, 32, replication.FloatValue(float64(float32(0.1))), "cast(0.1e0 AS float)"},
		{"float", kFloat, 32, replication.FloatValue(-math.MaxFloat32), "-3.4028234663852886e38"},
		{"double", kFloat, 64, replication.FloatValue(0.1), "0.1e0"},
		{"double", kFloat, 64, replication.FloatValue(0.30000000000000004), "0.30000000000000004e0"},
		{"double", kFloat, 64, replication.FloatValue(math.Copysign(0, -1)), "0e0"},
		{"double", kFloat, 64, replication.FloatValue(math.NaN()), ""},
		{"double", kFloat, 64, replication.FloatValue(math.Inf(-1)), ""},
		{"double", kFloat, 64, replication.FloatValue(math.MaxFloat64), "1.7976931348623157e308"},
		{"double", kFloat, 64, replication.FloatValue(2.2250738585072014e-308), "2.2250738585072014e-308"},
		{"varchar(20)", kFloat, 64, replication.FloatValue(math.NaN()), "'NaN'"},
		{"decimal(3,1)", kFloat, 64, replication.FloatValue(12.5), "12.5"},
		{"decimal(3,1)", kFloat, 64, replication.FloatValue(12.25), ""},
		{"int", kFloat, 64, replication.FloatValue(1.5), ""},
		{"decimal(65,30)", kDec, 0, bytesOf(kDec, "12345678901234567890123456789012345.123456789012345678901234567890"), "12345678901234567890123456789012345.123456789012345678901234567890"},
		{"decimal(65,30)", kDec, 0, bytesOf(kDec, "123456789012345678901234567890123456"), ""},
		{"decimal(65,30)", kDec, 0, bytesOf(kDec, "0.1234567890123456789012345678901"), ""},
		{"decimal(65,30)", kDec, 0, bytesOf(kDec, "0.12345678901234567890123456789000"), "0.12345678901234567890123456789"},
		{"decimal(65,30)", kDec, 0, bytesOf(kDec, "NaN"), ""},
		{"decimal(65,30)", kDec, 0, bytesOf(kDec, "-Infinity"), ""},
		{"varchar(20)", kDec, 0, bytesOf(kDec, "-Infinity"), "'-Infinity'"},
		{"varchar(20)", kDec, 0, bytesOf(kDec, "1.500"), "'1.500'"},
		{"decimal(12,2)", kDec, 0, bytesOf(kDec, "-0.05"), "-0.05"},
		{"decimal(12,2)", kDec, 0, bytesOf(kDec, "0.055"), ""},
		{"decimal(12,2)", kDec, 0, bytesOf(kDec, "10000000000.00"), ""},
		{"decimal(12,2)", kDec, 0, bytesOf(kDec, "1);DROP TABLE t"), ""},
		{"decimal(12,2)", kStr, 0, str("1e2"), ""},
		{"decimal(12,2)", kStr, 0, str(""), ""},
		{"double", kDec, 0, bytesOf(kDec, "0.1"), "0.1e0"},
		{"bigint", kDec, 0, bytesOf(kDec, "-7.0"), "-7"},
		{"bigint", kDec, 0, bytesOf(kDec, "7.5"), ""},
		{"longtext", kStr, 0, str("tab\t newline\n return\r backslash\\ quote' \"double\" \x00 \x1a % _ `"), `concat('tab', char(9), ' newline', char(10), ' return', char(13), ' backslash', char(92), ' quote'' "double" ', char(0), ' ', char(26), ' % _ ` + "`" + `')`},
		{"longtext", kStr, 0, str(""), "''"},
		{"longtext", kStr, 0, str("NULL"), "'NULL'"},
		{"longtext", kStr, 0, str("žluťoučký 🐴"), "_utf8mb4 0xC5BE6C75C5A56F75C48D6BC3BD20F09F90B4"},
		{"longtext", kStr, 0, str("\xf0\x9f\x90"), ""},
		{"varchar(5)", kStr, 0, str("ěšččř"), "_utf8mb4 0xC49BC5A1C48DC48DC599"},
		{"varchar(5)", kStr, 0, str("abcde "), ""},
		{"varchar(5)", kStr, 0, str("abc  "), "'abc  '"},
		{"varchar(5) CHARACTER SET latin1", kStr, 0, str("é"), "_latin1 0xE9"},
		{"varchar(5) CHARACTER SET latin1", kStr, 0, str("🐴"), ""},
		{"tinytext", kStr, 0, str(strings.Repeat("ě", 127)), "repeat(_utf8mb4 0xC49B, 127)"},
		{"tinytext", kStr, 0, str(strings.Repeat("ě", 128)), ""},
		{"tinytext", kStr, 0, str(strings.Repeat(" ", 256)), ""},
		{"char(5)", kStr, 0, str("ab"), "'ab'"},
		{"char(5)", kStr, 0, str("ab "), ""},
		{"enum('a','it''s','2')", kStr, 0, str("it's"), "'it''s'"},
		{"enum('a','b','2')", kStr, 0, str("1"), ""}, // to the server: the first
		{"enum('a','b','2')", kStr, 0, str("A"), ""},
		{"enum('a','b','2')", kStr, 0, str("2"), "'2'"},
		{"enum('a','b')", kInt, 32, num(1), ""},
		{"set('a','b','c')", kStr, 0, str("c,a"), "'a,c'"},
		{"set('a','b','c')", kStr, 0, str(""), "''"},
		{"set('a','b','c')", kStr, 0, str("3"), ""},
		{"longblob", kBytes, 0, bytesOf(kBytes, "\x00\x01\\\xff'\n\xf0\x9f'"), "0x00015CFF270AF09F27"},
		{"longblob", kBytes, 0, bytesOf(kBytes, ""), "''"},
		{"varbinary(2)", kBytes, 0, bytesOf(kBytes, "abc"), ""},
		{"binary(3)", kBytes, 0, bytesOf(kBytes, "a\x00\x00"), "0x610000"},
		{"binary(3)", kBytes, 0, bytesOf(kBytes, "a\x00"), ""}, // would be padded
		{"longtext", kBytes, 0, bytesOf(kBytes, "a"), ""},
		{"binary(16)", kUUID, 0, aUUID, "0x0123456789ABCDEF0123456789ABCDEF"},
		{"char(36)", kUUID, 0, aUUID, "'01234567-89ab-cdef-0123-456789abcdef'"},
		{"date", kDate, 0, micros(kDate, 0), "DATE'1970-01-01'"},
		{"date", kDate, 0, micros(kDate, -1), "DATE'1969-12-31'"},
		{"date", kDate, 0, micros(kDate, 11016), "DATE'2000-02-29'"},
		{"date", kDate, 0, micros(kDate, -719162), "DATE'0001-01-01'"},
		{"date", kDate, 0, micros(kDate, -719163), ""},
		{"date", kDate, 0, micros(kDate, 2932896), "DATE'9999-12-31'"},
		{"date", kDate, 0, micros(kDate, 2932897), ""},
		{"date", kDate, 0, micros(kDate, inf), ""},
		{"varchar(20)", kDate, 0, micros(kDate, ninf), "'-infinity'"},
		{"varchar(20)", kDate, 0, micros(kDate, -719163), "'0001-12-31 BC'"},
		{"time", kDate, 0, micros(kDate, 0), ""},
		{"datetime", kDate, 0, micros(kDate, 0), "TIMESTAMP'1970-01-01 00:00:00'"},
		{"time(6)", kTime, 0, micros(kTime, 0), "TIME'00:00'"},
		{"time(6)", kTime, 0, micros(kTime, 86_399_999_999), "TIME'23:59:59.999999'"},
		{"time(6)", kTime, 0, micros(kTime, 86_400_000_000), "TIME'24:00:00'"},
		{"time(6)", kTime, 0, micros(kTime, 3_723_000_040), "TIME'01:02:03.00004'"},
		{"time", kTime, 0, micros(kTime, 1_000_000), "TIME'00:00:01'"},
		{"time", kTime, 0, micros(kTime, 1), ""},
		{"time(3)", kTime, 0, micros(kTime, 1_234_000), "TIME'00:00:01.234'"},
		{"time(6)", kStr, 0, str("-838:59:59.000000"), "TIME'-838:59:59'"},
		{"time", kStr, 0, str("10:00:00.5"), ""},
		{"datetime", kTime, 0, micros(kTime, 0), ""}, // to the server: today
		{"datetime(6)", kStamp, 0, micros(kStamp, -1), "TIMESTAMP'1969-12-31 23:59:59.999999'"},
		{"datetime(6)", kStamp, 0, micros(kStamp, 253402300799999999), "TIMESTAMP'9999-12-31 23:59:59.999999'"},
		{"datetime(6)", kStamp, 0, micros(kStamp, 253402300800000000), ""},
		{"datetime(6)", kStamp, 0, micros(kStamp, -62135596800000000), "TIMESTAMP'0001-01-01 00:00:00'"},
		{"datetime(6)", kStamp, 0, micros(kStamp, -62135596800000001), ""},
		{"datetime(6)", kStamp, 0, micros(kStamp, inf), ""},
		{"varchar(40)", kStamp, 0, micros(kStamp, inf), "'infinity'"},
		{"varchar(40)", kStampTZ, 0, micros(kStampTZ, -62167219200000000+1), "'0001-01-01 00:00:00.000001+00 BC'"},
		{"datetime", kStamp, 0, micros(kStamp, 500_000), ""}, // would be rounded
		{"datetime(1)", kStamp, 0, micros(kStamp, 500_000), "TIMESTAMP'1970-01-01 00:00:00.5'"},
		{"date", kStamp, 0, micros(kStamp, 86_400_000_000), "DATE'1970-01-02'"},
		{"date", kStamp, 0, micros(kStamp, 1), ""},
		{"datetime(6)", kStampTZ, 0, micros(kStampTZ, 1_500_000), "TIMESTAMP'1970-01-01 00:00:01.5'"},
		{"timestamp(6) NULL", kStampTZ, 0, micros(kStampTZ, 1_500_000), "from_unixtime(1.5)"},
		{"timestamp(6) NULL", kStampTZ, 0, micros(kStampTZ, 1_700_000_000_123_456), "from_unixtime(1700000000.123456)"},
		{"timestamp(6) NULL", kStampTZ, 0, micros(kStampTZ, 0), ""},
		{"timestamp(6) NULL", kStampTZ, 0, micros(kStampTZ, -1), ""},
		{"json", kJSON, 0, bytesOf(kJSON, `{"b": 1, "a": "x\ny\\'", "n": [18446744073709551615, -9223372036854775808, 0.1, 1e20]}`), `'{"b": 1, "a": "x\\ny\\\\\'", "n": [18446744073709551615, -9223372036854775808, 0.1, 1e20]}'`},
		{"json", kStr, 0, str(`[1]`), "'[1]'"},
		{"json", kJSON, 0, bytesOf(kJSON, `{"a":`), ""},
		{"json", kArray, 32, list(num(1), replication.Null, num(-3)), `'[1, null, -3]'`},
		{"json", kArray, 0, list(str("a\"b\\c,{}'"), str(""), str("NULL"), replication.Null, str("\n\t\x01")), `'["a\\"b\\\\c,{}\'", "", "NULL", null, "\\n\\t\\u0001"]'`},
		{"json", kArray, 0, list(bytesOf(kDec, "1.50"), bytesOf(kDec, "NaN")), `'["1.50", "NaN"]'`},
		{"json", kArray, 64, list(replication.FloatValue(0.1), replication.FloatValue(math.Inf(1))), `'[0.1, "Infinity"]'`},
		{"json", kArray, 0, list(micros(kDate, 0), micros(kDate, inf)), `'["1970-01-01", "infinity"]'`},
		{"json", kArray, 0, list(bytesOf(kBytes, "\x00\\")), `'["\\\\x005c"]'`},
		{"json", kArray, 0, list(replication.BoolValue(true), aUUID), `'[true, "01234567-89ab-cdef-0123-456789abcdef"]'`},
		{"json", kArray, 0, list(), `'[]'`},
		{"longtext", kArray, 32, list(num(1), num(2)), `'[1,2]'`},
		{"int", kStr, 0, str("abc"), ""},
		{"int", kArray, 32, list(num(1)), ""},
		{"date", kStr, 0, str("2020-02-30"), ""},
		{"date", kStr, 0, str("2020-02-29"), "DATE'2020-02-29'"},
		{"date", kStr, 0, str("2020-02-29 00:00:00.000000"), "DATE'2020-02-29'"},
		{"date", kStr, 0, str("2020-02-29 00:00:01"), ""}, // to the server: the day
		{"date", kStr, 0, str("2020-02-29 00:00:00.000001"), ""},
		{"date", kStr, 0, str("10:11:12"), ""}, // to the server: in 2010
		{"date", kStr, 0, str("20200229"), ""},
		{"date", kStr, 0, str("2020-02-29T00:00:00Z"), ""},
		{"date", kStr, 0, str("2020-02-29 and more"), ""},
		{"date", kStr, 0, str("2020-2-29"), ""},
		{"date", kStr, 0, str("0001-12-31 BC"), ""},
		{"date", kStr, 0, str(""), ""},
		{"datetime(6)", kStr, 0, str("2020-02-29"), "TIMESTAMP'2020-02-29 00:00:00'"},
		{"datetime(6)", kStr, 0, str("2020-02-29 12:34:56.789012"), "TIMESTAMP'2020-02-29 12:34:56.789012'"},
		{"datetime(6)", kStr, 0, str("2020-02-29 12:34:56.7890120"), ""},
		{"datetime(3)", kStr, 0, str("2020-02-29 12:34:56.789000"), "TIMESTAMP'2020-02-29 12:34:56.789'"},
		{"datetime(3)", kStr, 0, str("2020-02-29 12:34:56.789012"), ""},
		{"datetime", kStr, 0, str("2020-02-29 12:34:56+02"), ""}, // to some servers: without the zone
		{"datetime", kStr, 0, str("2020-02-29 12:34:56+02:00"), ""},
		{"datetime", kStr, 0, str("12:34:56"), ""},
		{"datetime", kStr, 0, str("10:11:12"), ""},
		{"datetime", kStr, 0, str("2020-02-29 12:34"), ""},
		{"datetime", kStr, 0, str("2020-02-29 12:34:56."), ""},
		{"datetime", kStr, 0, str("2020-02-29  12:34:56"), ""},
		{"timestamp(6) NULL", kStr, 0, str("2020-02-29 12:34:56.5"), "TIMESTAMP'2020-02-29 12:34:56.5'"},
		{"time(6)", kStr, 0, str("2020-02-29 12:34:56"), ""}, // to the server: the time
		{"time(6)", kStr, 0, str("12:34:56.5"), "TIME'12:34:56.5'"},
		{"time(6)", kStr, 0, str("838:59:59"), "TIME'838:59:59'"},
		{"time(6)", kStr, 0, str("839:00:00"), ""},
		{"time", kStr, 0, str("12"), ""}, // to the server: seconds
		{"time", kStr, 0, str("12:34"), ""},
		{"time", kStr, 0, str("1 12:34:56"), ""}, // to the server: a day more
		{"time", kStr, 0, str("12:34:56-07"), ""},
		{"year", kStr, 0, str("26"), ""},
		{"year", kStr, 0, str("0026"), ""},
		{"year", kStr, 0, str("26.0"), ""},
		{"year", kStr, 0, str("2026"), "2026"},
		{"date", kInt, 32, num(20200101), ""},
		{"point", kBytes, 0, bytesOf(kBytes, "\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\x00\x40"), "point(1, 2)"},
	}
}

// TestTypes writes every cell and compares in the database.
func TestTypes(t *testing.T) {
	each(t, append(newest, services.MySQL80), func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{})
		all := cells()
		if tg.mariadb() {
			all = append(all,
				literal{"uuid", kUUID, 0, bytesOf(kUUID, "\x01\x23\x45\x67\x89\xab\x4d\xef\x81\x23\x45\x67\x89\xab\xcd\xef"), "'01234567-89ab-4def-8123-456789abcdef'"},
				literal{"uuid", kUUID, 0, aUUID, ""}, // to MariaDB a version that is none
				literal{"json", kJSON, 0, bytesOf(kJSON, `{"b":1,  "a":0.12345678901234567890}`), `'{"b":1,  "a":0.12345678901234567890}'`},
				literal{"inet6", kStr, 0, str("::1"), "'::1'"}, literal{"inet6", kStr, 0, str("none"), ""})
		} else {
			all = append(all, literal{"json", kJSON, 0, bytesOf(kJSON, `{"a":0.12345678901234567890}`), ""},
				literal{"json", kJSON, 0, bytesOf(kJSON, `[18446744073709551616]`), ""})
		}
		small := literal{"json", kArray, 32, list(replication.FloatValue(float64(float32(1e-45)))), "'[1e-45]'"}
		if version == services.MySQL80 { // which reads it as 1.0000000000000001e-45
			small.sql = ""
		}
		all = append(all, small)
		for i, c := range all {
			name := fmt.Sprintf("t%d", i)
			tg.exec("CREATE TABLE " + name + " (id bigint PRIMARY KEY, v " + c.typ + ")")
			s := &sink.Shape{Topic: "public." + name, Table: name, Fields: []sink.Field{id(), field("v", c.kind, c.bits, "")}}
			if c.sql == "" {
				err := tg.w.Apply(t.Context(), "g", tg.Batch(s, row(num(1), c.v)))
				if bad, ok := errors.AsType[sink.RowErrors](err); !ok || len(bad) != 1 {
					t.Errorf("%s %s: %v, want the row refused; there is now %s", c.typ, c.v, err, tg.dump("SELECT v FROM "+name))
					tg.Next = -1
					tg.exec("DELETE FROM cdc_offsets")
				}
				continue
			}
			tg.Apply(s, row(num(1), c.v), row(num(2), replication.Null))
			tg.Apply(s, row(num(1), c.v)) // as an update
			same := "v <=> " + c.sql
			switch {
			case c.typ == "json" && !tg.mariadb():
				same = "v = cast(" + c.sql + " AS json)"
			case c.typ == "json":
				same = "json_compact(v) = json_compact(" + c.sql + ")"
			case strings.HasPrefix(c.typ, "year"):
				same = "v + 0 = " + c.sql
			case strings.Contains(c.typ, "char") || strings.Contains(c.typ, "text"):
				same = "cast(convert(v USING utf8mb4) AS binary) = cast(convert(" + c.sql + " USING utf8mb4) AS binary)"
			case strings.HasPrefix(c.sql, "cast(0.1e0") && (version == services.MySQL80 || tg.mariadb()): // which know no such cast
				same = "abs(v - 0.1) < 1e-8 AND v <> 0.1e0"
			case c.typ == "point":
				same = "st_astext(v) = st_astext(" + c.sql + ")"
			}
			if got := tg.dump("SELECT count(*) FROM " + name + " WHERE " + same); got != "1" {
				t.Errorf("%s %s is not %s but %s", c.typ, c.v, c.sql, tg.dump("SELECT v FROM "+name+" WHERE id = 1"))
			}
			if got := tg.dump("SELECT count(*) FROM " + name + " WHERE v IS NULL"); got != "1" {
				t.Errorf("%s: no NULL", c.typ)
			}
		}
	})
}

// TestNewColumns makes tables and compares what the server says they are.
func TestNewColumns(t *testing.T) {
	col := func(k replication.Kind, bits uint8, p, s int, elem replication.Kind, typ string) replication.Column {
		return replication.Column{Kind: k, Bits: bits, Precision: p, Scale: s, Elem: elem, TypeName: typ}
	}
	each(t, services.MySQLVersions(), func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true, AddColumns: true})
		json := "json"
		if tg.mariadb() {
			json = "longtext"
		}
		integer := func(name, width string) string { // display widths went in 8.0.19
			if tg.mariadb() || version == services.MySQL80 {
				typ, unsigned, _ := strings.Cut(name, " ")
				return strings.TrimSpace(typ + "(" + width + ") " + unsigned)
			}
			return name
		}
		cases := []struct {
			col  replication.Column
			want string
		}{
			{col(kBool, 0, 0, 0, 0, "boolean"), "tinyint(1)"},
			{col(kInt, 16, 0, 0, 0, "smallint"), integer("smallint", "6")},
			{col(kInt, 32, 0, 0, 0, "integer"), integer("int", "11")},
			{col(kInt, 64, 0, 0, 0, "bigint"), integer("bigint", "20")},
			{col(kUint, 8, 0, 0, 0, "tinyint unsigned"), integer("tinyint unsigned", "3")},
			{col(kUint, 64, 0, 0, 0, "bigint unsigned"), integer("bigint unsigned", "20")},
			{col(kDec, 0, 20, 0, 0, "bigint unsigned"), integer("bigint unsigned", "20")},
			{col(kInt, 64, 0, 0, 0, "int unsigned"), integer("int unsigned", "10")},
			{col(kInt, 32, 0, 0, 0, "mediumint"), integer("mediumint", "9")},
			{col(kInt, 32, 0, 0, 0, "bit(12)"), "bit(12)"},
			{col(kStr, 0, 0, 0, 0, "bit(12)"), "longtext"},
			{col(kStr, 0, 0, 0, 0, "time(3)"), "time(3)"},
			{col(kBytes, 0, 0, 0, 0, "point"), "point"},
			{col(kFloat, 32, 0, 0, 0, "real"), "float"},
			{col(kFloat, 64, 0, 0, 0, "double precision"), "double"},
			{col(kDec, 0, 12, 2, 0, "numeric(12,2)"), "decimal(12,2)"},
			{col(kDec, 0, 0, 0, 0, "numeric"), "decimal(65,30)"},
			{col(kDec, 0, 80, 2, 0, "numeric(80,2)"), "decimal(65,30)"},
			{col(kDec, 0, 3, -2, 0, "numeric(3,-2)"), "decimal(65,30)"},
			{col(kStr, 0, 0, 0, 0, "text"), "longtext"},
			{col(kStr, 0, 0, 0, 0, "character varying(40)"), "varchar(40)"},
			{col(kStr, 0, 0, 0, 0, "character(5)"), "varchar(5)"},
			{col(kStr, 0, 0, 0, 0, "varchar(9999999)"), "longtext"},
			{col(kStr, 0, 0, 0, 0, "mood"), "longtext"},
			{col(kStr, 0, 0, 0, 0, "text); DROP TABLE t; --"), "longtext"},
			{col(kBytes, 0, 0, 0, 0, "bytea"), "longblob"},
			{col(kBytes, 0, 0, 0, 0, "binary(16)"), "varbinary(16)"},
			{col(kDate, 0, 0, 0, 0, "date"), "date"},
			{col(kTime, 0, 0, 0, 0, "time without time zone"), "time(6)"},
			{col(kTime, 0, 0, 0, 0, "time(2) without time zone"), "time(2)"},
			{col(kTime, 0, 0, 0, 0, "time"), "time"},
			{col(kStamp, 0, 0, 0, 0, "timestamp without time zone"), "datetime(6)"},
			{col(kStamp, 0, 0, 0, 0, "timestamp(3) without time zone"), "datetime(3)"},
			{col(kStamp, 0, 0, 0, 0, "datetime(4)"), "datetime(4)"},
			{col(kStamp, 0, 0, 0, 0, "datetime"), "datetime"},
			{col(kStampTZ, 0, 0, 0, 0, "timestamp with time zone"), "datetime(6)"},
			{col(kStampTZ, 0, 0, 0, 0, "timestamp(3)"), "timestamp(3)"},
			{col(kStampTZ, 0, 0, 0, 0, ""), "datetime(6)"},
			{col(kUUID, 0, 0, 0, 0, "uuid"), "char(36)"},
			{col(kJSON, 0, 0, 0, 0, "jsonb"), json},
			{col(kArray, 32, 0, 0, kInt, "integer[]"), json},
			{col(kArray, 32, 0, 0, kFloat, "vector"), map[bool]string{true: "vector(16383)", false: json}[version == services.MySQL9]},
			{col(kArray, 32, 0, 0, kFloat, "vector(3)"), map[bool]string{true: "vector(3)", false: json}[version == services.MySQL9 || version == services.MariaDB118]},
		}
		s := shape(id())
		for i, c := range cases {
			f := sink.Field{Column: c.col}
			f.Name = fmt.Sprintf("c%d", i)
			s.Fields = append(s.Fields, f)
		}
		wide := *s // some come later
		wide.Fields = slices.Clone(s.Fields)
		s.Fields = s.Fields[:len(s.Fields)/2]
		tg.Apply(s, row(slices.Insert(make([]replication.Value, len(s.Fields)-1), 0, num(1))...))
		tg.Apply(&wide, row(slices.Insert(make([]replication.Value, len(wide.Fields)-1), 0, num(1))...))
		for i, c := range cases {
			got := tg.dump(fmt.Sprintf("SELECT COLUMN_TYPE, IS_NULLABLE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = database() AND TABLE_NAME = 't' AND COLUMN_NAME = 'c%d'", i))
			if got != c.want+"|YES" {
				t.Errorf("%v %q: got %s, want %s", c.col.Kind, c.col.TypeName, got, c.want)
			}
		}
	})
}
