package mysql

import (
	"encoding/hex"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"cdc/replication"
	"cdc/sink"
)

var (
	missingNumber = regexp.MustCompile(`^-?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,3})?$`)
	missingDate   = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	missingStamp  = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?$`)
	missingTime   = regexp.MustCompile(`^[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?$`)
)

// missing returns the value that rows from before have in an added column as a
// literal: replication.Column's Missing, in the form that PostgreSQL prints. It
// returns false for what has no place in MySQL.
func missing(f *sink.Field) (literal string, ok bool) {
	text := f.Missing
	quoted := func() string { return string(appendQuoted(nil, []byte(text))) }
	switch f.Kind {
	case replication.KindBool:
		switch text {
		case "t", "true", "1":
			return "1", true
		case "f", "false", "0":
			return "0", true
		}
		return "", false
	case replication.KindInt, replication.KindUint, replication.KindFloat, replication.KindDecimal:
		return text, missingNumber.MatchString(text)
	case replication.KindString, replication.KindUUID, replication.KindJSON:
		return quoted(), utf8.ValidString(text)
	case replication.KindBytes:
		b, err := hex.DecodeString(strings.TrimPrefix(text, `\x`))
		return "x'" + hex.EncodeToString(b) + "'", err == nil && strings.HasPrefix(text, `\x`)
	case replication.KindDate:
		return quoted(), missingDate.MatchString(text)
	case replication.KindTime:
		return quoted(), missingTime.MatchString(text)
	case replication.KindTimestamp:
		return quoted(), missingStamp.MatchString(text)
	case replication.KindTimestampTZ:
		for _, layout := range []string{"2006-01-02 15:04:05.999999-07", "2006-01-02 15:04:05.999999-07:00"} {
			if at, err := time.Parse(layout, text); err == nil {
				text = at.UTC().Format("2006-01-02 15:04:05.000000")
				return quoted(), true
			}
		}
		return "", false
	case replication.KindArray:
		return "'[]'", text == "{}"
	default:
		return "", false
	}
}

// defaultClause returns the DEFAULT of an added column of a type: what the rows
// from before have in the source. Columns without a length take an expression
// only (manual, "Data Type Default Values").
func defaultClause(f *sink.Field, typ string) (clause string, ok bool) {
	if !f.HasMissing {
		return "", true
	}
	literal, ok := missing(f)
	if !ok {
		return "", false
	}
	for _, prefix := range []string{"longtext", "longblob", "json"} {
		if strings.HasPrefix(typ, prefix) {
			literal = "(" + literal + ")"
			break
		}
	}
	return " DEFAULT " + literal, true
}
