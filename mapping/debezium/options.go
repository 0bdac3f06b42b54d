// Package debezium writes rows as Debezium's connectors for PostgreSQL, MySQL
// and MariaDB do: its envelope, its semantic types, and its schemas as Confluent's Avro converter
// registers them, property by property in the same order, so that a registry
// knows a schema that Debezium registered before. docs/debezium.md lists what
// differs on purpose. The sink's side is package mapping/avro.
package debezium

import "fmt"

// versions are those of Debezium's connectors whose format this is; they stand in
// every record's source block. They are the newest that the tests can have.
var versions = map[string]string{"postgresql": "3.7.0.Final", "mysql": "3.6.1.Final", "mariadb": "3.5.0.Final"}

// DefaultUnavailable stands for a large value that the log left out.
const DefaultUnavailable = "__debezium_unavailable_value"

// Options are those options of Debezium on which consumers depend, under the
// values that it has for them. The zero Options are its defaults.
type Options struct {
	// Decimal is decimal.handling.mode: precise (the default), double, string.
	Decimal string
	// Time is time.precision.mode: adaptive (the default),
	// adaptive_time_microseconds, connect, isostring, microseconds, nanoseconds,
	// structured.
	// For MySQL and MariaDB the default is adaptive_time_microseconds, and there are
	// no adaptive and structured.
	Time string
	// Binary is binary.handling.mode: bytes (the default), base64,
	// base64-url-safe, hex.
	Binary string
	// HStore is hstore.handling.mode: json (the default) or map.
	HStore string
	// Interval is interval.handling.mode: numeric (the default) or string.
	Interval string
	// Names is schema.name.adjustment.mode and field.name.adjustment.mode: avro (the
	// default) or avro_unicode.
	Names string
	// BigintUnsigned is bigint.unsigned.handling.mode, of MySQL and MariaDB: long
	// (the default), under which numbers beyond a long are errors, or precise.
	BigintUnsigned string
	// ZeroDates makes null of dates that the calendar does not have, as MySQL may
	// hold, and 1970-01-01 or the default in columns that are NOT NULL; otherwise
	// they are errors.
	ZeroDates bool
	// Unavailable is unavailable.value.placeholder; "" is DefaultUnavailable.
	Unavailable string

	binlog, mariadb bool // of MySQL or MariaDB
}

// complete fills in the defaults and refuses what Debezium does not know.
func (o *Options) complete(connector string) error {
	o.mariadb = connector == "mariadb"
	o.binlog = o.mariadb || connector == "mysql"
	times := []string{"adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds", "structured"}
	if o.binlog {
		times = times[1 : len(times)-1]
	}
	for _, f := range []struct {
		name  string
		value *string
		known []string
	}{
		{"decimal", &o.Decimal, []string{"precise", "double", "string"}},
		{"time", &o.Time, times},
		{"bigint_unsigned", &o.BigintUnsigned, []string{"long", "precise"}},
		{"binary", &o.Binary, []string{"bytes", "base64", "base64-url-safe", "hex"}},
		{"hstore", &o.HStore, []string{"json", "map"}},
		{"interval", &o.Interval, []string{"numeric", "string"}},
		{"names", &o.Names, []string{"avro", "avro_unicode"}},
	} {
		if *f.value == "" {
			*f.value = f.known[0]
		}
		ok := false
		for _, k := range f.known {
			ok = ok || *f.value == k
		}
		if !ok {
			return fmt.Errorf("%s: %q is none of %v", f.name, *f.value, f.known)
		}
	}
	if o.Unavailable == "" {
		o.Unavailable = DefaultUnavailable
	}
	return nil
}
