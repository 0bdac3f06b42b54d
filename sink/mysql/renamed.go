package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"cdc/sink"
)

// This file remembers which columns were renamed. A column's comment, where the
// sink for PostgreSQL notes that, changes here only together with the column's
// whole definition; so the offsets table has a row for each former name: its
// group is "", its topic the quoted table and former name, its topic_id the new
// name.

// maxTopic is how many characters a topic in the offsets table may have.
const maxTopic = 249

// noteRename remembers that a column gets a new name. It comes before the
// statement that renames: a note of a column that does not come to be leads
// nowhere. What cannot be noted is remembered as long as the Writer lives.
func (w *Writer) noteRename(ctx context.Context, p *plan, from, to string) error {
	from = strings.ToLower(from)
	w.renamed.Note(p.table, from, strings.ToLower(to))
	name := p.table + "." + quoteName(from)
	if utf8.RuneCountInString(name) > maxTopic { // of backticks, nearly
		w.log.Warn("a renamed column is remembered until the sink ends: its name is too long to be noted", "table", p.table, "from", from, "to", to)
		return nil
	}
	_, err := w.exec(ctx, fmt.Sprintf("INSERT INTO %s (group_name, topic, `partition`, next_offset, topic_id) VALUES ('', %s, 0, 0, %s) ON DUPLICATE KEY UPDATE topic_id = %[3]s",
		w.offsets, quoteText(name), quoteText(strings.ToLower(to))))
	if err != nil {
		return fmt.Errorf("note in table %s that column %s of table %s is renamed: %w", w.offsets, from, p.table, err)
	}
	return nil
}

// readRenames reads what was noted of the table, by whichever Writer, when the
// shape has a field that no column has the name of.
func (w *Writer) readRenames(ctx context.Context, p *plan, catalog []described) error {
	if !slices.ContainsFunc(p.shape.Fields, func(f sink.Field) bool { return find(catalog, f.Name) == nil }) {
		return nil
	}
	prefix := p.table + "."
	rows, err := w.query(ctx, fmt.Sprintf("SELECT topic, topic_id FROM %s WHERE group_name = '' AND LEFT(topic, %d) = %s AND topic_id IS NOT NULL",
		w.offsets, utf8.RuneCountInString(prefix), quoteText(prefix)))
	if err != nil {
		return fmt.Errorf("read which columns of table %s were renamed: %w", p.table, err)
	}
	for _, r := range rows {
		if from := strings.TrimPrefix(r[0].text, prefix); len(from) > 2 {
			w.renamed.Note(p.table, unquoteName(from), r[1].text)
		}
	}
	return nil
}

// forgetRenames drops what was noted of a table that is not there any more. No
// right to DELETE is asked for.
func (w *Writer) forgetRenames(ctx context.Context, p *plan) error {
	delete(w.renamed, p.table)
	prefix := p.table + "."
	_, err := w.exec(ctx, fmt.Sprintf("UPDATE %s SET topic_id = NULL WHERE group_name = '' AND LEFT(topic, %d) = %s",
		w.offsets, utf8.RuneCountInString(prefix), quoteText(prefix)))
	if err != nil {
		return fmt.Errorf("forget which columns of table %s were renamed: %w", p.table, err)
	}
	return nil
}

// column returns the column of a field: of its name, unless that was renamed
// since, by a newer version of the topic.
func (w *Writer) column(p *plan, catalog []described, field string) *described {
	return find(catalog, w.renamed.Latest(p.table, strings.ToLower(field),
		func(name string) bool { return find(catalog, name) != nil },
		func(name string) bool {
			return slices.ContainsFunc(p.shape.Fields, func(f sink.Field) bool { return strings.EqualFold(f.Name, name) })
		}))
}
