package mysql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cdc/internal/services"
	"cdc/replication"
)

// typeCase is a column of a type with some of its values, as SQL and as what
// the manual says that they are.
type typeCase struct {
	typ    string
	kind   replication.Kind
	bits   uint8
	name   string // of the type, when it is not typ
	values []string
	want   []string
	only   string // versions that have it: a prefix
}

const epochDay = 20597 // 2026-05-24

var typeCases = []typeCase{
	{typ: "tinyint", kind: replication.KindInt, bits: 8, values: []string{"-128", "127", "0"}, want: []string{"-128", "127", "0"}},
	{typ: "tinyint unsigned", kind: replication.KindUint, bits: 8, values: []string{"255", "0"}, want: []string{"255", "0"}},
	{typ: "boolean", kind: replication.KindInt, bits: 8, name: "tinyint", values: []string{"true", "false"}, want: []string{"1", "0"}},
	{typ: "smallint", kind: replication.KindInt, bits: 16, values: []string{"-32768", "32767"}, want: []string{"-32768", "32767"}},
	{typ: "smallint unsigned", kind: replication.KindUint, bits: 16, values: []string{"65535"}, want: []string{"65535"}},
	{typ: "mediumint", kind: replication.KindInt, bits: 32, values: []string{"-8388608", "8388607"}, want: []string{"-8388608", "8388607"}},
	{typ: "mediumint unsigned", kind: replication.KindUint, bits: 32, values: []string{"16777215"}, want: []string{"16777215"}},
	{typ: "int", kind: replication.KindInt, bits: 32, values: []string{"-2147483648", "2147483647"}, want: []string{"-2147483648", "2147483647"}},
	{typ: "int unsigned", kind: replication.KindUint, bits: 32, values: []string{"4294967295"}, want: []string{"4294967295"}},
	{typ: "int(6) unsigned zerofill", kind: replication.KindUint, bits: 32, name: "int unsigned", values: []string{"42"}, want: []string{"42"}},
	{typ: "bigint", kind: replication.KindInt, bits: 64, values: []string{"-9223372036854775808", "9223372036854775807"}, want: []string{"-9223372036854775808", "9223372036854775807"}},
	{typ: "bigint unsigned", kind: replication.KindUint, bits: 64, values: []string{"18446744073709551615", "9223372036854775808"}, want: []string{"18446744073709551615", "9223372036854775808"}},
	{typ: "year", kind: replication.KindInt, bits: 16, values: []string{"0", "1901", "2155"}, want: []string{"0", "1901", "2155"}},
	{typ: "float", kind: replication.KindFloat, bits: 32, values: []string{"16777216", "-1.5", "0.1"}, want: []string{"1.6777216e+07", "-1.5", "0.10000000149011612"}},
	{typ: "double", kind: replication.KindFloat, bits: 64, values: []string{"1.7976931348623157e308", "-2.2250738585072014e-308", "0.1"}, want: []string{"1.7976931348623157e+308", "-2.2250738585072014e-308", "0.1"}},
	{typ: "decimal(12,2)", kind: replication.KindDecimal, values: []string{"9999999999.99", "-0.05", "0", "-1234567890.12"}, want: []string{"9999999999.99", "-0.05", "0.00", "-1234567890.12"}},
	{
		typ: "decimal(65,30)", kind: replication.KindDecimal,
		values: []string{"99999999999999999999999999999999999.999999999999999999999999999999", "-1.000000000000000000000000000001"},
		want:   []string{"99999999999999999999999999999999999.999999999999999999999999999999", "-1.000000000000000000000000000001"},
	},
	{typ: "decimal(30,30)", kind: replication.KindDecimal, values: []string{"0.000000000000000000000000000001"}, want: []string{"0.000000000000000000000000000001"}},
	{typ: "decimal(18,0)", kind: replication.KindDecimal, values: []string{"-999999999999999999", "7"}, want: []string{"-999999999999999999", "7"}},
	{typ: "decimal(8,3) unsigned zerofill", kind: replication.KindDecimal, name: "decimal(8,3) unsigned", values: []string{"1.5", "0"}, want: []string{"1.500", "0.000"}},
	{typ: "bit(1)", kind: replication.KindBool, values: []string{"b'1'", "b'0'"}, want: []string{"true", "false"}},
	{typ: "bit(12)", kind: replication.KindUint, bits: 16, values: []string{"b'101010101010'"}, want: []string{"2730"}},
	{typ: "bit(64)", kind: replication.KindUint, bits: 64, values: []string{"18446744073709551615"}, want: []string{"18446744073709551615"}},
	{typ: "date", kind: replication.KindDate, values: []string{"'2026-05-24'", "'1000-01-01'", "'9999-12-31'", "'1970-01-01'", "'2000-02-29'"}, want: []string{"date(20597)", "date(-354285)", "date(2932896)", "date(0)", "date(11016)"}},
	{typ: "datetime", kind: replication.KindTimestamp, values: []string{"'2026-05-24 12:34:56'", "'1969-12-31 23:59:59'"}, want: []string{fmt.Sprintf("timestamp(%d)", int64(epochDay*86400+12*3600+34*60+56)*1e6), "timestamp(-1000000)"}},
	{typ: "datetime(3)", kind: replication.KindTimestamp, values: []string{"'1970-01-01 00:00:00.123'"}, want: []string{"timestamp(123000)"}},
	{typ: "datetime(6)", kind: replication.KindTimestamp, values: []string{"'1970-01-01 00:00:01.000001'", "'9999-12-31 23:59:59.999999'", "'1000-01-01 00:00:00'"}, want: []string{"timestamp(1000001)", "timestamp(253402300799999999)", "timestamp(-30610224000000000)"}},
	{typ: "datetime(1)", kind: replication.KindTimestamp, values: []string{"'1970-01-01 00:00:00.9'"}, want: []string{"timestamp(900000)"}},
	{typ: "timestamp null", kind: replication.KindTimestampTZ, name: "timestamp", values: []string{"'1970-01-01 02:00:01'", "'2038-01-19 05:14:07'"}, want: []string{"timestamptz(1000000)", "timestamptz(2147483647000000)"}},
	{typ: "timestamp(6) null", kind: replication.KindTimestampTZ, name: "timestamp(6)", values: []string{"'2026-05-24 02:00:00.654321'"}, want: []string{fmt.Sprintf("timestamptz(%d)", int64(epochDay*86400)*1e6+654321)}},
	{typ: "time", kind: replication.KindString, values: []string{"'838:59:59'", "'-838:59:59'", "'00:00:00'", "'-00:00:01'"}, want: []string{`"838:59:59"`, `"-838:59:59"`, `"00:00:00"`, `"-00:00:01"`}},
	{typ: "time(2)", kind: replication.KindString, values: []string{"'-00:00:00.01'", "'10:11:12.99'", "'-10:11:12.50'"}, want: []string{`"-00:00:00.01"`, `"10:11:12.99"`, `"-10:11:12.50"`}},
	{typ: "time(4)", kind: replication.KindString, values: []string{"'-00:00:00.0001'", "'100:11:12.9999'"}, want: []string{`"-00:00:00.0001"`, `"100:11:12.9999"`}},
	{typ: "time(6)", kind: replication.KindString, values: []string{"'-838:59:58.999999'", "'23:59:59.000001'"}, want: []string{`"-838:59:58.999999"`, `"23:59:59.000001"`}},
	{typ: "char(10)", kind: replication.KindString, values: []string{"'a'", "''", "'grün  '"}, want: []string{`"a"`, `""`, `"grün"`}},
	{typ: "char(255)", kind: replication.KindString, values: []string{"repeat('ä', 255)"}, want: []string{`"` + strings.Repeat("ä", 255) + `"`}},
	{typ: "varchar(20)", kind: replication.KindString, values: []string{"'a  '", "'😀'", "''"}, want: []string{`"a  "`, `"😀"`, `""`}},
	{typ: "varchar(300)", kind: replication.KindString, values: []string{"repeat('x', 300)"}, want: []string{`"` + strings.Repeat("x", 300) + `"`}},
	{typ: "tinytext", kind: replication.KindString, values: []string{"'t'"}, want: []string{`"t"`}},
	{typ: "text", kind: replication.KindString, values: []string{"'te\\nxt'"}, want: []string{`"te\nxt"`}},
	{typ: "mediumtext", kind: replication.KindString, values: []string{"repeat('m', 70000)"}, want: []string{`"` + strings.Repeat("m", 70000) + `"`}},
	{typ: "longtext", kind: replication.KindString, values: []string{"'l'"}, want: []string{`"l"`}},
	{typ: "binary(4)", kind: replication.KindBytes, values: []string{"x'01020000'", "x'00'", "x'ffffffff'"}, want: []string{"01020000", "00000000", "ffffffff"}},
	{typ: "varbinary(10)", kind: replication.KindBytes, values: []string{"x'0100'", "x''"}, want: []string{"0100", ""}},
	{typ: "blob", kind: replication.KindBytes, values: []string{"x'00ff00'"}, want: []string{"00ff00"}},
	{typ: "longblob", kind: replication.KindBytes, values: []string{"x'6162'"}, want: []string{"6162"}},
	{typ: "enum('a','b''c','grün')", kind: replication.KindString, values: []string{"'a'", "'b''c'", "3", "0"}, want: []string{`"a"`, `"b'c"`, `"grün"`, `""`}},
	{typ: "set('a','b','c','d','e','f','g','h','i')", kind: replication.KindString, values: []string{"'a,c'", "''", "'i,b'"}, want: []string{`"a,c"`, `""`, `"b,i"`}},
	{typ: "varchar(20) character set latin1", kind: replication.KindString, name: "varchar(20)", values: []string{"'é€'"}, want: []string{`"é€"`}},
	{typ: "char(5) character set ucs2", kind: replication.KindString, name: "char(5)", values: []string{"'aé漢'"}, want: []string{`"aé漢"`}},
	{typ: "varchar(5) character set utf16", kind: replication.KindString, name: "varchar(5)", values: []string{"'a😀'"}, want: []string{`"a😀"`}},
	{typ: "varchar(5) character set utf16le", kind: replication.KindString, name: "varchar(5)", values: []string{"'a😀'"}, want: []string{`"a😀"`}},
	{typ: "varchar(5) character set utf32", kind: replication.KindString, name: "varchar(5)", values: []string{"'a😀'"}, want: []string{`"a😀"`}},
	{typ: "varchar(5) character set cp1251", kind: replication.KindString, name: "varchar(5)", values: []string{"'жЯa'"}, want: []string{`"жЯa"`}},
	{typ: "varchar(5) character set koi8r", kind: replication.KindString, name: "varchar(5)", values: []string{"'жЯa'"}, want: []string{`"жЯa"`}},
	{typ: "varchar(5) character set greek", kind: replication.KindString, name: "varchar(5)", values: []string{"'αΩ'"}, want: []string{`"αΩ"`}},
	{typ: "varchar(5) character set sjis", kind: replication.KindString, name: "varchar(5)", values: []string{"'漢ｶ\\\\'"}, want: []string{`"漢ｶ\\"`}},
	{typ: "varchar(5) character set cp932", kind: replication.KindString, name: "varchar(5)", values: []string{"'漢～①'"}, want: []string{`"漢～①"`}},
	{typ: "varchar(5) character set ujis", kind: replication.KindString, name: "varchar(5)", values: []string{"'漢ｶ丂'"}, want: []string{`"漢ｶ丂"`}},
	{typ: "varchar(5) character set gbk", kind: replication.KindString, name: "varchar(5)", values: []string{"'汉字a'"}, want: []string{`"汉字a"`}},
	{typ: "varchar(5) character set gb2312", kind: replication.KindString, name: "varchar(5)", values: []string{"'汉字a'"}, want: []string{`"汉字a"`}},
	{typ: "varchar(5) character set big5", kind: replication.KindString, name: "varchar(5)", values: []string{"'漢字a'"}, want: []string{`"漢字a"`}},
	{typ: "varchar(5) character set euckr", kind: replication.KindString, name: "varchar(5)", values: []string{"'한글a'"}, want: []string{`"한글a"`}},
	{typ: "varchar(5) character set gb18030", kind: replication.KindString, name: "varchar(5)", values: []string{"'汉😀ḿ'"}, want: []string{`"汉😀ḿ"`}, only: "mysql"},
	{typ: "enum('ж','я') character set cp1251", kind: replication.KindString, name: "enum('ж','я')", values: []string{"'я'"}, want: []string{`"я"`}},
	{typ: "point", kind: replication.KindBytes, values: []string{"ST_GeomFromText('POINT(1 2)')"}, want: []string{"000000000101000000000000000000f03f0000000000000040"}},
	{typ: "geometry", kind: replication.KindBytes, values: []string{"ST_GeomFromText('LINESTRING(0 0,1 1)')"}, want: []string{"00000000010200000002000000" + strings.Repeat("00", 16) + strings.Repeat("000000000000f03f", 2)}},
	{typ: "vector(3)", kind: replication.KindArray, bits: 32, name: "vector", values: []string{"STRING_TO_VECTOR('[1,-2.5,0]')"}, want: []string{"[1 -2.5 0]"}, only: services.MySQL9},
	{typ: "vector(3)", kind: replication.KindArray, bits: 32, values: []string{"VEC_FromText('[1,-2.5,0]')"}, want: []string{"[1 -2.5 0]"}, only: services.MariaDB118},
	{
		typ: "uuid", kind: replication.KindUUID, only: "mariadb",
		values: []string{"'123e4567-e89b-12d3-a456-426655440000'", "'00000000-0000-0000-0000-000000000000'", "'f81d4fae-7dec-41d0-a765-00a0c91e6bf6'", "'01890a5d-ac96-774b-bcce-b302099a8057'"},
		want:   []string{"123e4567e89b12d3a456426655440000", "00000000000000000000000000000000", "f81d4fae7dec41d0a76500a0c91e6bf6", "01890a5dac96774bbcceb302099a8057"},
	},
	{
		typ: "inet6", kind: replication.KindString, only: "mariadb",
		values: []string{"'2001:db8::ff00:42:8329'", "'::'", "'::ffff:192.0.2.128'", "'::192.0.2.1'", "'1:0:0:2::3'", "'ffff:0:1:2:3:4:5:6'"},
		want:   []string{`"2001:db8::ff00:42:8329"`, `"::"`, `"::ffff:192.0.2.128"`, `"::192.0.2.1"`, `"1:0:0:2::3"`, `"ffff::1:2:3:4:5:6"`},
	},
	{typ: "inet4", kind: replication.KindString, only: "mariadb", values: []string{"'192.0.2.255'", "'0.0.0.0'"}, want: []string{`"192.0.2.255"`, `"0.0.0.0"`}},
	{typ: "json", kind: replication.KindJSON, only: "mysql", values: []string{`'{"b":1,"a":[true,null,"x\\ny",-1.5,1e100]}'`, `'"ä"'`, `'[]'`}, want: []string{`{"a": [true, null, "x\ny", -1.5, 1e100], "b": 1}`, `"ä"`, `[]`}},
	{typ: "json", kind: replication.KindJSON, only: "mariadb", values: []string{`'{"b":1,"a":[true,null]}'`, `'[]'`}, want: []string{`{"b":1,"a":[true,null]}`, `[]`}},
}

// TestTypes: every type's values are what the manual says, and the stream gives
// what the snapshot gives.
func TestTypes(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, version string) {
		var cases []typeCase
		most := 0
		for _, c := range typeCases {
			if strings.HasPrefix(version, c.only) {
				cases = append(cases, c)
				most = max(most, len(c.values))
			}
		}
		cfg, exec := testConfig(t, version, "t")
		var columns strings.Builder
		for i, c := range cases {
			fmt.Fprintf(&columns, ", c%d %s", i, c.typ)
		}
		exec("SET sql_mode = 'NO_BACKSLASH_ESCAPES'", "SET sql_mode = '', time_zone = '+02:00'", "CREATE TABLE t (id INT PRIMARY KEY"+columns.String()+") CHARACTER SET utf8mb4")
		insert := func(id int) {
			t.Helper()
			var sql strings.Builder
			fmt.Fprintf(&sql, "INSERT INTO t VALUES (%d", id)
			for _, c := range cases {
				value := "NULL"
				if k := id % 100; k < len(c.values) {
					value = c.values[k]
				}
				sql.WriteString(", " + value)
			}
			exec(sql.String() + ")")
		}
		for k := range most + 1 { // the last row is of NULLs
			insert(k)
		}
		r := openSource(t, cfg)
		for k := range most + 1 {
			insert(100 + k)
		}
		rows := r.take(2 * (most + 1))
		if rows[0].table != rows[most+1].table {
			t.Error("the table of the stream is another one than the snapshot's")
			for i := range rows[0].table.Columns {
				if diff := cmp.Diff(rows[0].table.Columns[i], rows[most+1].table.Columns[i]); diff != "" {
					t.Error(diff)
				}
			}
		}
		for i, c := range cases {
			col := rows[0].table.Columns[i+1]
			name := c.name
			if name == "" {
				name = c.typ
			}
			if col.Kind != c.kind || col.Bits != c.bits || col.TypeName != name || col.NotNull {
				t.Errorf("%s is described as %+v", c.typ, col)
			}
			for k := range most + 1 {
				want := "null"
				if k < len(c.want) {
					want = c.want[k]
				}
				read, streamed := rows[k].after[i+1], rows[most+1+k].after[i+1]
				if clip(read, 100) != clip(want, 100) || read != want {
					t.Errorf("%s, value %d: the snapshot reads %s, want %s", c.typ, k, clip(read, 100), clip(want, 100))
				}
				if streamed != read {
					t.Errorf("%s, value %d: the stream reads %s, the snapshot %s", c.typ, k, clip(streamed, 100), clip(read, 100))
				}
			}
		}
	})
}
