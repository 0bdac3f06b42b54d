package mysql

import (
	"strings"
	"testing"

	"cdc/replication"
	"cdc/sink"
)

// TestAddedColumnsHaveDefaults: the target's rows from before get what those of
// the source have, in the forms that both families print.
func TestAddedColumnsHaveDefaults(t *testing.T) {
	each(t, newest, func(t *testing.T, version string) {
		tg := newTarget(t, version, Config{CreateTables: true, AddColumns: true})
		s := shape(id())
		tg.Apply(s, row(num(1)))
		tests := []struct {
			kind                    replication.Kind
			bits                    uint8
			typeName, missing, want string
		}{
			{kInt, 32, "integer", "-7", "-7"},
			{replication.KindUint, 64, "bigint unsigned", "18446744073709551615", "18446744073709551615"},
			{replication.KindBool, 0, "boolean", "t", "1"},
			{replication.KindBool, 0, "bit(1)", "0", "0"},
			{kDec, 0, "numeric(6,2)", "7.00", "7.00"},
			{replication.KindFloat, 64, "double precision", "1.5e+30", "1500000000000000000000000000000"},
			{kStr, 0, "text", `it's \ é "so" `, `it's \ é "so" `},
			{kStr, 0, "varchar(20)", `it's \`, `it's \`},
			{kStr, 0, "time", "-12:00:00", "-12:00:00"},
			{replication.KindBytes, 0, "bytea", `\x00ff27`, "\x00\xff'"},
			{replication.KindBytes, 0, "binary(3)", `\x000102`, "\x00\x01\x02"},
			{replication.KindDate, 0, "date", "2026-11-21", "2026-11-21"},
			{kStamp, 0, "datetime", "2026-11-21 01:02:03", "2026-11-21 01:02:03"},
			{replication.KindTimestampTZ, 0, "timestamp with time zone", "2026-11-21 01:02:03.5+02", "2026-11-20 23:02:03.500000"},
			{replication.KindTime, 0, "time without time zone", "01:02:03.25", "01:02:03.250000"},
			{replication.KindUUID, 0, "uuid", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"},
			{replication.KindJSON, 0, "json", `{"a": 1}`, `{"a": 1}`},
			{replication.KindArray, 0, "text[]", "{}", "[]"},
			{kStamp, 0, "timestamp without time zone", "infinity", "NULL"},
		}
		fields := []sink.Field{id()}
		values := []replication.Value{num(2)}
		var names []string
		for i, c := range tests {
			f := field("c"+string(rune('a'+i)), c.kind, c.bits, c.typeName)
			f.HasMissing, f.Missing = true, c.missing
			if c.kind == replication.KindArray {
				f.Elem = kStr
			}
			if c.kind == kDec {
				f.Precision, f.Scale = 6, 2
			}
			fields, values, names = append(fields, f), append(values, replication.Null), append(names, f.Name)
		}
		tg.Apply(shape(fields...), row(values...))
		got := strings.Split(tg.dump("SELECT "+strings.Join(names, ", ")+" FROM t WHERE id = 1"), "|")
		for i, c := range tests {
			if i >= len(got) || got[i] != c.want {
				t.Errorf("%s %s: want %q, got %v", c.typeName, c.missing, c.want, got)
				break
			}
		}
		if got := tg.dump("SELECT coalesce(" + strings.Join(names[:6], ", ") + ") FROM t WHERE id = 2"); got != "NULL" {
			t.Errorf("a NULL became %s", got)
		}
		if n := strings.Count(tg.logs.String(), "has no place here as a default"); n != 1 {
			t.Errorf("%d warnings: %s", n, tg.logs)
		}
	})
}
