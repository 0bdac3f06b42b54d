package postgres

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"cdc/internal/servicetest"
	"cdc/replication"
	"cdc/replication/arena"
)

func decodeText(c replication.Column, text string) (replication.Value, error) {
	d := newColumnDecoder(c)
	return d.decode([]byte(text), new(arena.Arena))
}

func col(kind replication.Kind, bits ...uint8) replication.Column {
	c := replication.Column{Kind: kind}
	if len(bits) > 0 {
		c.Bits = bits[0]
	}
	return c
}

func array(elem replication.Kind, bits ...uint8) replication.Column {
	c := col(replication.KindArray, bits...)
	c.Elem = elem
	return c
}

var (
	intCol   = col(replication.KindInt, 32)
	longCol  = col(replication.KindInt, 64)
	dateCol  = col(replication.KindDate)
	timeCol  = col(replication.KindTime)
	tsCol    = col(replication.KindTimestamp)
	tstzCol  = col(replication.KindTimestampTZ)
	numCol   = col(replication.KindDecimal)
	textArr  = array(replication.KindString)
	floatCol = col(replication.KindFloat, 64)
)

func TestText(t *testing.T) {
	num := replication.NumValue
	str := func(s string) replication.Value { return replication.StringValue(replication.KindString, s) }
	dec := func(s string) replication.Value { return replication.StringValue(replication.KindDecimal, s) }
	arr := func(v ...replication.Value) replication.Value { return replication.ArrayValue(v) }
	tests := []struct {
		col  replication.Column
		text string
		want replication.Value
	}{
		{col(replication.KindBool), "t", replication.BoolValue(true)},
		{col(replication.KindBool), "f", replication.BoolValue(false)},
		{col(replication.KindInt, 16), "-32768", replication.IntValue(-32768)},
		{intCol, "2147483647", replication.IntValue(2147483647)},
		{longCol, "-9223372036854775808", replication.IntValue(math.MinInt64)},
		{longCol, "9223372036854775807", replication.IntValue(math.MaxInt64)},
		{col(replication.KindUint, 32), "4294967295", replication.UintValue(4294967295)},
		{floatCol, "1e-05", replication.FloatValue(1e-5)},
		{floatCol, "-0", replication.FloatValue(math.Copysign(0, -1))},
		{floatCol, "NaN", replication.FloatValue(math.NaN())},
		{floatCol, "-Infinity", replication.FloatValue(math.Inf(-1))},
		{col(replication.KindFloat, 32), "3.4028235e+38", replication.FloatValue(math.MaxFloat32)},
		{numCol, "-0.00012300", dec("-0.00012300")},
		{numCol, "NaN", dec("NaN")},
		{numCol, "-Infinity", dec("-Infinity")},
		{col(replication.KindString), "", str("")},
		{col(replication.KindBytes), `\x`, replication.BytesValue(replication.KindBytes, nil)},
		{col(replication.KindBytes), `\x00ffa9`, replication.BytesValue(replication.KindBytes, []byte{0, 0xff, 0xa9})},
		{dateCol, "1970-01-01", num(replication.KindDate, 0)},
		{dateCol, "1969-12-31", num(replication.KindDate, -1)},
		{dateCol, "0001-01-01 BC", num(replication.KindDate, -719528)}, // year 0 of ISO 8601
		{dateCol, "5874897-12-31", num(replication.KindDate, 2145042905)},
		{dateCol, "infinity", num(replication.KindDate, replication.Infinity)},
		{timeCol, "24:00:00", num(replication.KindTime, 86_400_000_000)},
		{timeCol, "00:00:00.000001", num(replication.KindTime, 1)},
		{timeCol, "12:34:56.7", num(replication.KindTime, 45_296_700_000)},
		{tsCol, "1969-12-31 23:59:59.999999", num(replication.KindTimestamp, -1)},
		{tsCol, "-infinity", num(replication.KindTimestamp, replication.NegInfinity)},
		{tsCol, "294247-01-10 04:00:54.775806", num(replication.KindTimestamp, math.MaxInt64-1)},
		{tstzCol, "1970-01-01 00:00:00+00", num(replication.KindTimestampTZ, 0)},
		{tstzCol, "1969-12-31 18:30:00-05:30", num(replication.KindTimestampTZ, 0)},
		{tstzCol, "1970-01-01 00:19:32+00:19:32", num(replication.KindTimestampTZ, 0)},
		{tstzCol, "infinity", num(replication.KindTimestampTZ, replication.Infinity)},
		{
			col(replication.KindUUID), "00112233-4455-6677-8899-aabbccddeeff",
			replication.BytesValue(replication.KindUUID, []byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}),
		},
		{col(replication.KindJSON), `{"a": [1]}`, replication.StringValue(replication.KindJSON, `{"a": [1]}`)},
		{textArr, `{}`, arr()},
		{
			textArr, `{a,NULL,"NULL","","a\"b\\c","x,y{}"," "}`,
			arr(str("a"), replication.Null, str("NULL"), str(""), str(`a"b\c`), str("x,y{}"), str(" ")),
		},
		{array(replication.KindBool), `{t,f,NULL}`, arr(replication.BoolValue(true), replication.BoolValue(false), replication.Null)},
		{array(replication.KindInt, 32), `{1,-2}`, arr(replication.IntValue(1), replication.IntValue(-2))},
		{
			array(replication.KindTimestamp), `{"1970-01-01 00:00:01",infinity}`,
			arr(num(replication.KindTimestamp, 1_000_000), num(replication.KindTimestamp, replication.Infinity)),
		},
		{
			array(replication.KindBytes), `{"\\x01","\\x"}`,
			arr(replication.BytesValue(replication.KindBytes, []byte{1}), replication.BytesValue(replication.KindBytes, nil)),
		},
	}
	for _, tt := range tests {
		got, err := decodeText(tt.col, tt.text)
		if err != nil {
			t.Errorf("%s %q: %v", tt.col.Kind, tt.text, err)
		} else if !got.Equal(tt.want) {
			t.Errorf("%s %q = %v, want %v", tt.col.Kind, tt.text, got, tt.want)
		}
	}
}

func TestTextErrors(t *testing.T) {
	tests := []struct {
		col  replication.Column
		text string
		want string
	}{
		{col(replication.KindBool), "true", `decode bool "true": unexpected form`},
		{col(replication.KindInt, 16), "32768", `decode int "32768": unexpected form`},
		{longCol, "9223372036854775808", `unexpected form`},
		{longCol, "+1", `unexpected form`},
		{longCol, "", `unexpected form`},
		{longCol, "-", `unexpected form`},
		{longCol, "1_0", `unexpected form`},
		{floatCol, "inf", `unexpected form`},
		{floatCol, "0x1p4", `unexpected form`},
		{numCol, "1.", `unexpected form`},
		{numCol, ".5", `unexpected form`},
		{numCol, "-", `unexpected form`},
		{numCol, "1e5", `unexpected form`},
		{col(replication.KindBytes), `\001`, `unexpected form`},
		{col(replication.KindBytes), `\x0`, `unexpected form`},
		{col(replication.KindUUID), "00112233-4455-6677-8899-aabbccddeefg", `unexpected form`},
		{dateCol, "2023-02-29", `unexpected form`},
		{dateCol, "01/02/2023", `unexpected form`},
		{dateCol, "infinity BC", `unexpected form`},
		{timeCol, "24:00:00.000001", `unexpected form`},
		{timeCol, "12:00", `unexpected form`},
		{tsCol, "2023-01-01 00:00:00+00", `unexpected form`},
		{tsCol, "2023-01-01T00:00:00", `unexpected form`},
		{tstzCol, "2023-01-01 00:00:00", `unexpected form`},
		{tstzCol, "2023-01-01 00:00:00+00:", `unexpected form`},
		{tsCol, "294247-01-10 04:00:54.775807", `outside the range`},
		{tsCol, "294276-12-31 23:59:59.999999", `outside the range`},
		{array(replication.KindInt, 32), "{{1,2},{3,4}}", `arrays of more than one dimension are not supported`},
		{array(replication.KindInt, 32), "[2:3]={1,2}", `arrays whose first index is not 1 are not supported`},
		{array(replication.KindInt, 32), "{1,x}", `element 2: decode int "x": unexpected form`},
		{textArr, "{a,}", `unexpected form`},
		{textArr, `{"a`, `unexpected form`},
		{textArr, `{"a\`, `unexpected form`},
		{textArr, `{a"b}`, `unexpected form`},
		{textArr, "", `unexpected form`},
	}
	for _, tt := range tests {
		got, err := decodeText(tt.col, tt.text)
		if err == nil {
			t.Errorf("%s %q = %v, want an error", tt.col.Kind, tt.text, got)
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %q: %v, want %q", tt.col.Kind, tt.text, err, tt.want)
		}
	}
}

// TestTextAgainstServer takes many random values from a real server, each with
// its text and with another form of it that the server computes itself.
func TestTextAgainstServer(t *testing.T) {
	conn := sessionConn(t)
	const n = 1500
	epoch := func(expr string) string { return `(extract(epoch FROM ` + expr + `) * 1000000)::bigint::text` }
	wide := `(CASE WHEN random() < 0.5 THEN interval '1 hour' ELSE interval '200 years' END)`
	tests := []struct {
		name   string
		col    replication.Column
		values string // SQL expression, random
		oracle string // SQL over v, as text
		got    func(replication.Value) string
	}{
		{
			"date", dateCol, `date '4713-01-01 BC' + (random() * 2147483493 / (CASE WHEN random() < 0.5 THEN 1 ELSE 800 END))::int`,
			`(v - date '1970-01-01')::text`, num,
		},
		{"time", timeCol, `time '00:00' + random() * interval '86399.999999 s'`, epoch(`v`), num},
		{"timestamp", tsCol, `timestamp '1970-01-01' + (random() - 0.5) * 60 * ` + wide, epoch(`v`), num},
		{"timestamp far", tsCol, `timestamp '4713-01-01 BC' + random() * interval '298900 years'`, epoch(`v`), num},
		{"timestamptz", tstzCol, `timestamptz '1970-01-01 00:00+00' + (random() - 0.5) * 60 * ` + wide, epoch(`v`), num},
		{
			"int8", longCol, `('x' || md5(random()::text))::bit(64)::bigint >> (random() * 63)::int`, `encode(int8send(v), 'hex')`,
			func(v replication.Value) string { return fmt.Sprintf("%016x", uint64(v.Int())) },
		},
		{
			"float8", floatCol, `(random() - 0.5) * 10 ^ (random() * 600 - 300)::float8`, `encode(float8send(v), 'hex')`,
			func(v replication.Value) string { return fmt.Sprintf("%016x", math.Float64bits(v.Float())) },
		},
		{
			"float4", col(replication.KindFloat, 32), `((random() - 0.5) * 10 ^ (random() * 70 - 35))::float4`, `encode(float4send(v), 'hex')`,
			func(v replication.Value) string { return fmt.Sprintf("%08x", math.Float32bits(float32(v.Float()))) },
		},
		{
			"bytea", col(replication.KindBytes), `substr(decode(md5(random()::text), 'hex'), 1, (random() * 16)::int)`, `upper(encode(v, 'hex'))`,
			func(v replication.Value) string { return strings.ToUpper(hex.EncodeToString(v.Bytes())) },
		},
		{
			"uuid", col(replication.KindUUID), `gen_random_uuid()`, `encode(uuid_send(v), 'hex')`,
			func(v replication.Value) string { return hex.EncodeToString(v.Bytes()) },
		},
		{
			"text[]", textArr,
			`ARRAY(SELECT CASE WHEN random() < 0.1 THEN NULL ELSE
			   substr(translate(md5(random()::text || g), '0123456789', '{}"\, NULL'), 1, (random() * 6)::int) END FROM generate_series(1, (g % 5)) k)`,
			`(SELECT coalesce(string_agg(coalesce(encode(convert_to(e, 'UTF8'), 'hex'), 'null'), '|' ORDER BY o), 'none') FROM unnest(v) WITH ORDINALITY u(e, o))`,
			func(v replication.Value) string {
				if v.Len() == 0 {
					return "none"
				}
				var parts []string
				for _, e := range v.Elems() {
					if e.IsNull() {
						parts = append(parts, "null")
					} else {
						parts = append(parts, hex.EncodeToString(e.Bytes()))
					}
				}
				return strings.Join(parts, "|")
			},
		},
	}
	for _, zone := range []string{"UTC", "Europe/Amsterdam", "America/St_Johns"} {
		conn.exec(`SET TimeZone = '` + zone + `'`)
		for _, tt := range tests {
			if zone != "UTC" && tt.name != "timestamptz" {
				continue
			}
			rows := conn.texts(fmt.Sprintf(`SELECT v::text, %s FROM (SELECT %s AS v FROM generate_series(1, %d) g) s`, tt.oracle, tt.values, n))
			if len(rows) != n {
				t.Fatalf("%s: %d rows", tt.name, len(rows))
			}
			for _, row := range rows {
				v, err := decodeText(tt.col, row[0])
				if err != nil {
					if errors.Is(err, errRange) && row[1] > "9223372036854775807" {
						continue
					}
					t.Errorf("%s %s %q: %v", zone, tt.name, row[0], err)
				} else if got := tt.got(v); got != row[1] {
					t.Errorf("%s %s %q: %s, the server says %s", zone, tt.name, row[0], got, row[1])
				}
				if t.Failed() {
					break
				}
			}
		}
	}
	conn.exec(`SET TimeZone = 'UTC'`)
	// Values whose text is the value: that the server's own forms are accepted.
	for name, sql := range map[string]string{
		"numeric": `SELECT ((random() - 0.5) * 10 ^ (random() * 40 - 20))::numeric::text FROM generate_series(1, 1000)
			UNION ALL SELECT v::numeric::text FROM unnest(ARRAY['NaN', 'Infinity', '-Infinity', '0.000', '-0', '1e131071', '1e-16383']) v`,
	} {
		for _, row := range conn.texts(sql) {
			if v, err := decodeText(numCol, row[0]); err != nil || string(v.Bytes()) != row[0] {
				t.Errorf("%s %q: %v, %v", name, row[0], v, err)
			}
		}
	}
}

func num(v replication.Value) string { return fmt.Sprint(v.Int()) }

// TestTextAgainstPgx compares with another decoder of the same text.
func TestTextAgainstPgx(t *testing.T) {
	m := pgtype.NewMap()
	us := func(at time.Time) int64 { return at.UnixMicro() }
	for _, text := range []string{"2024-02-29 12:00:00.5", "1899-12-31 23:59:59.999999", "0001-01-01 00:00:00", "9999-12-31 00:00:00", "0044-03-15 08:00:00 BC"} {
		var want pgtype.Timestamp
		if err := m.Scan(oidTimestamp, pgtype.TextFormatCode, []byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if got, err := decodeText(tsCol, text); err != nil || got.Int() != us(want.Time) {
			t.Errorf("%q: %v %v, pgx %d", text, got, err, us(want.Time))
		}
	}
	for _, text := range []string{"2024-02-29 12:00:00.123456+05:30", "1899-12-31 23:59:59-04:56:02"} {
		var want pgtype.Timestamptz
		if err := m.Scan(oidTimestampTZ, pgtype.TextFormatCode, []byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if got, err := decodeText(tstzCol, text); err != nil || got.Int() != us(want.Time) {
			t.Errorf("%q: %v %v, pgx %d", text, got, err, us(want.Time))
		}
	}
	for _, text := range []string{`{a,"b c",NULL,"\"\\"}`, `{}`} {
		var want []*string
		if err := m.Scan(pgtype.TextArrayOID, pgtype.TextFormatCode, []byte(text), &want); err != nil {
			t.Fatal(err)
		}
		got, err := decodeText(textArr, text)
		if err != nil {
			t.Fatal(err)
		}
		var all []*string
		for _, e := range got.Elems() {
			if e.IsNull() {
				all = append(all, nil)
			} else {
				all = append(all, new(string(e.Bytes())))
			}
		}
		if !slices.EqualFunc(all, want, func(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }) {
			t.Errorf("%q: %v, pgx %v", text, got, want)
		}
	}
}

// textConn reads every column as text, under the settings of the package.
type textConn struct {
	t    *testing.T
	conn *pgx.Conn
}

func sessionConn(t *testing.T) *textConn {
	cc, err := pgx.ParseConfig(servicetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(cc.RuntimeParams, sessionSettings)
	conn, err := pgx.ConnectConfig(t.Context(), cc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return &textConn{t, conn}
}

func (c *textConn) exec(sql string) {
	c.t.Helper()
	if _, err := c.conn.Exec(c.t.Context(), sql); err != nil {
		c.t.Fatal(err)
	}
}

func (c *textConn) texts(sql string) [][]string {
	c.t.Helper()
	res, err := c.conn.PgConn().Exec(c.t.Context(), sql).ReadAll()
	if err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	var rows [][]string
	for _, row := range res[0].Rows {
		var texts []string
		for _, v := range row {
			texts = append(texts, string(v))
		}
		rows = append(rows, texts)
	}
	return rows
}

// FuzzText looks for text that breaks the parser, and checks that what it
// accepts lies in its kind's range.
func FuzzText(f *testing.F) {
	cols := []replication.Column{
		col(replication.KindBool), col(replication.KindInt, 16), intCol, longCol, col(replication.KindUint, 32),
		col(replication.KindFloat, 32), floatCol, numCol, col(replication.KindString), col(replication.KindBytes),
		dateCol, timeCol, tsCol, tstzCol, col(replication.KindUUID), col(replication.KindJSON),
		textArr, array(replication.KindInt, 64), array(replication.KindBytes), array(replication.KindTimestampTZ),
	}
	f.Fuzz(func(t *testing.T, kind byte, text []byte) {
		c := cols[int(kind)%len(cols)]
		v, err := decodeText(c, string(text))
		if err != nil {
			d := newColumnDecoder(c)
			if v := d.value(bytes.Clone(text), new(arena.Arena)); v.Kind() != replication.KindInvalid || !bytes.Equal(v.Bytes(), text) {
				t.Fatalf("%q is kept as %s %q", text, v.Kind(), v.Bytes())
			}
			return
		}
		if v.Kind() != c.Kind {
			t.Fatalf("%q is a %s, want %s", text, v.Kind(), c.Kind)
		}
		switch c.Kind {
		case replication.KindInt:
			if shift := 64 - c.Bits; v.Int()<<shift>>shift != v.Int() {
				t.Fatalf("%q = %d exceeds %d bits", text, v.Int(), c.Bits)
			}
			if got := fmt.Sprint(v.Int()); got != string(text) && got != strings.TrimLeft(string(text), "0") && strings.Trim(string(text), "-0") != strings.Trim(got, "-0") &&
				strings.TrimLeft(strings.TrimPrefix(string(text), "-"), "0") != strings.TrimPrefix(got, "-") {
				t.Fatalf("%q = %s", text, got)
			}
		case replication.KindTime:
			if v.Int() < 0 || v.Int() > usPerDay {
				t.Fatalf("%q = %d", text, v.Int())
			}
		case replication.KindTimestamp:
			if v.Int() == math.MaxInt64 && string(text) != "infinity" {
				t.Fatalf("%q is infinity", text)
			}
		case replication.KindArray:
			for _, e := range v.Elems() {
				if !e.IsNull() && e.Kind() != c.Elem {
					t.Fatalf("%q has a %s", text, e.Kind())
				}
			}
		}
	})
}
