// Package avro is the codec of this program: it builds schemas for tables,
// encodes rows and decodes records by plans compiled once per schema, and talks
// to the schema registry.
//
// Sources: the Avro 1.12 specification for types and the binary encoding, and
// Confluent's "Wire format" (a zero byte, the schema's id as four bytes big
// endian, the body) for records. Schemas are parsed by twmb/avro; the bytes are
// read and written here, without reflection and without maps.
//
// Policies that no specification settles:
//
//   - date and timestamp ±infinity are the largest and the smallest number of
//     the Avro type (int for date, long for timestamps), both ways.
//   - A text that is not UTF-8 is an error, both ways.
//   - Nanoseconds are read as microseconds, rounded down.
package avro
