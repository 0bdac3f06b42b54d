package postgres

import (
	"testing"
)

func TestRelate(t *testing.T) {
	for _, tt := range []struct{ have, want, result string }{
		{"integer", "integer", "holds"},
		{"integer", "bigint", "bigint"},
		{"bigint", "integer", "holds"},
		{"smallint", "real", "real"},
		{"integer", "real", "-"},
		{"integer", "double precision", "double precision"},
		{"bigint", "double precision", "-"},
		{"bigint", "numeric", "numeric"},
		{"bigint", "numeric(20,0)", "numeric(20,0)"},
		{"integer", "numeric(6,2)", "numeric(12,2)"},
		{"numeric(6,2)", "integer", "numeric(12,2)"},
		{"numeric(20,0)", "bigint", "holds"},
		{"numeric(10,2)", "numeric(12,2)", "numeric(12,2)"},
		{"numeric(10,2)", "numeric(10,4)", "numeric(12,4) cuts"},
		{"numeric(10,2)", "numeric(8,2)", "holds"},
		{"numeric(10,2)", "numeric", "numeric cuts"},
		{"numeric", "numeric(1000,500)", "holds"},
		{"numeric(3,0)", "numeric(3,-2)", "numeric(5,0)"},
		{"numeric(800,0)", "numeric(800,800)", "numeric cuts"},
		{"numeric(10,2)", "double precision", "-"},
		{"real", "double precision", "double precision cuts"},
		{"double precision", "real", "holds"},
		{"character varying(40)", "character varying(80)", "character varying(80)"},
		{"character varying(40)", "character varying(20)", "holds"},
		{"character varying(40)", "text", "text"},
		{"character varying(40)", "character varying", "character varying"},
		{"character(4)", "character(8)", "character(8)"},
		{"character(4)", "character varying(8)", "character varying(8)"},
		{"character(4)", "text", "text"},
		{"text", "character varying(8)", "holds"},
		{"text", "integer", "holds"},
		{"bit(3)", "bit(5)", "bit varying(5)"},
		{"bit(3)", "bit varying", "bit varying"},
		{"bit varying(8)", "bit(5)", "holds"},
		{"timestamp(3) without time zone", "timestamp without time zone", "timestamp without time zone cuts"},
		{"timestamp(3) with time zone", "timestamp(6) with time zone", "timestamp(6) with time zone cuts"},
		{"timestamp without time zone", "timestamp(3) without time zone", "holds"},
		{"timestamp without time zone", "timestamp with time zone", "-"},
		{"time(0) without time zone", "time without time zone", "time without time zone cuts"},
		{"date", "timestamp without time zone", "timestamp without time zone cuts"},
		{"timestamp without time zone", "date", "holds"},
		{"integer[]", "bigint[]", "bigint[]"},
		{"numeric(6,2)[]", "numeric(8,2)[]", "numeric(8,2)[]"},
		{"integer", "bigint[]", "-"},
		{"integer", "text", "-"},
		{"boolean", "integer", "-"},
		{"jsonb", "text", "-"},
		{`"Mood"`, "text", "-"},
		{"uuid", "uuid", "holds"},
	} {
		r := relate(tt.have, tt.want)
		got := "-"
		if r.related {
			if got = r.wider; got == "" {
				got = "holds"
			}
			if r.cuts {
				got += " cuts"
			}
		}
		if got != tt.result {
			t.Errorf("%s for %s: %s, want %s", tt.have, tt.want, got, tt.result)
		}
	}
	if relate("numeric(99999999999999999999)", "numeric(5,0)").related {
		t.Error("a precision beyond any is understood")
	}
}
