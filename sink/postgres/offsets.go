package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
)

func (w *Writer) offsetsDDL() string {
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s (
  group_name text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  next_offset bigint NOT NULL,
  topic_id text,
  updated_at timestamp with time zone NOT NULL DEFAULT now(),
  PRIMARY KEY (group_name, topic, partition))`, w.offsets)
}

func (w *Writer) ensureOffsets(ctx context.Context) error {
	rows, err := w.query(ctx, `SELECT to_regclass($1), EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'topic_id')`, w.offsets)
	if err != nil {
		return fmt.Errorf("look for table %s: %w", w.offsets, err)
	}
	if rows[0][0] != nil {
		if string(rows[0][1]) == "t" {
			return nil
		}
		return w.addTopicID(ctx)
	}
	err = w.exec(ctx, w.offsetsDDL())
	if madeMeanwhile(err) {
		return nil
	}
	switch sqlState(err) {
	case noPrivilege, "3F000":
		return &replication.Refusal{
			Problem: fmt.Sprintf("the offsets table %s is absent and may not be created", w.offsets),
			Remedy:  strings.Join(strings.Fields(w.offsetsDDL()), " ") + "; grant SELECT, INSERT, UPDATE on it",
			Err:     err,
		}
	}
	if err != nil {
		return fmt.Errorf("create table %s: %w", w.offsets, err)
	}
	w.log.Info("created the offsets table", "table", w.offsets)
	return nil
}

// addTopicID brings a table that an earlier version made up to date.
func (w *Writer) addTopicID(ctx context.Context) error {
	ddl := "ALTER TABLE " + w.offsets + " ADD COLUMN IF NOT EXISTS topic_id text"
	err := w.exec(ctx, ddl)
	if sqlState(err) == noPrivilege {
		return &replication.Refusal{Problem: fmt.Sprintf("the offsets table %s lacks the column topic_id, and it may not be added", w.offsets), Remedy: ddl + " (as its owner)", Err: err}
	}
	if err != nil && sqlState(err) != duplicateColumn {
		return fmt.Errorf("add column topic_id to table %s: %w", w.offsets, err)
	}
	return nil
}

// Identity implements sink.Writer: the cluster, the database and the table.
func (w *Writer) Identity(ctx context.Context) (string, error) {
	var id string
	err := w.retry(ctx, "reading its identity", func() error {
		rows, err := w.query(ctx, `SELECT concat_ws('-', c.system_identifier, d.oid, $1::regclass::oid)
			FROM pg_control_system() c, pg_database d WHERE d.datname = current_database()`, w.offsets)
		switch code := sqlState(err); {
		case code == noPrivilege || code == "42883": // no such function: not quite PostgreSQL
			return nil
		case err != nil:
			return fmt.Errorf("read the identity of the sink's database: %w", err)
		}
		id = string(rows[0][0])
		return nil
	})
	return id, err
}

// TopicIDs implements sink.Writer.
func (w *Writer) TopicIDs(ctx context.Context, group string, topics []string) (map[string]string, error) {
	var out map[string]string
	err := w.retry(ctx, "reading topics' ids", func() error {
		out = map[string]string{}
		rows, err := w.query(ctx, `SELECT DISTINCT topic, topic_id FROM `+w.offsets+` WHERE group_name = $1 AND topic = ANY($2::text[]) AND topic_id IS NOT NULL`,
			group, textArray(topics))
		if err != nil {
			return fmt.Errorf("read topics' ids of group %s: %w", group, err)
		}
		for _, r := range rows {
			out[string(r[0])] = string(r[1])
		}
		return nil
	})
	return out, err
}

// Offsets implements sink.Writer.
func (w *Writer) Offsets(ctx context.Context, group string, topics []string) (map[string]map[int32]int64, error) {
	var out map[string]map[int32]int64
	err := w.retry(ctx, "reading offsets", func() error {
		out = map[string]map[int32]int64{}
		rows, err := w.query(ctx, `SELECT topic, partition, next_offset FROM `+w.offsets+` WHERE group_name = $1 AND topic = ANY($2::text[])`,
			group, textArray(topics))
		if err != nil {
			return fmt.Errorf("read offsets of group %s: %w", group, err)
		}
		for _, r := range rows {
			p, err1 := strconv.ParseInt(string(r[1]), 10, 32)
			n, err2 := strconv.ParseInt(string(r[2]), 10, 64)
			if err1 != nil || err2 != nil {
				return fmt.Errorf("read offsets of group %s: partition %q, offset %q", group, r[1], r[2])
			}
			if out[string(r[0])] == nil {
				out[string(r[0])] = map[int32]int64{}
			}
			out[string(r[0])][int32(p)] = n
		}
		return nil
	})
	return out, err
}

// moveOffsets moves each offset from From to Next and reports whether all of
// them still were at From. It comes first in a transaction: its row locks keep
// a member that lost a partition from writing beside the one that has it, and
// the sorted order keeps two of them from deadlocking.
func (w *Writer) moveOffsets(ctx context.Context, group string, offsets []sink.Offset) (bool, error) {
	sorted := apply.Sorted(offsets)
	for _, fresh := range []bool{false, true} {
		sql := `UPDATE ` + w.offsets + ` o SET next_offset = u.next, updated_at = now(), topic_id = coalesce(nullif(u.id, ''), o.topic_id)
			FROM unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::text[]) u(topic, partition, prev, next, id)
			WHERE o.group_name = $1 AND o.topic = u.topic AND o.partition = u.partition AND o.next_offset = u.prev`
		if fresh {
			sql = `INSERT INTO ` + w.offsets + ` (group_name, topic, partition, next_offset, topic_id)
			SELECT $1, u.topic, u.partition, u.next, nullif(u.id, '')
			FROM unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::text[]) u(topic, partition, prev, next, id)
			ON CONFLICT DO NOTHING`
		}
		var topics, ids []string
		var parts, prev, next []byte
		for _, o := range sorted {
			if (o.From < 0) != fresh {
				continue
			}
			topics, ids = append(topics, o.Topic), append(ids, o.TopicID)
			parts = strconv.AppendInt(append(parts, ','), int64(o.Partition), 10)
			prev = strconv.AppendInt(append(prev, ','), o.From, 10)
			next = strconv.AppendInt(append(next, ','), o.Next, 10)
		}
		if len(topics) == 0 {
			continue
		}
		list := func(b []byte) []byte { b[0] = '{'; return append(b, '}') }
		n, err := w.run(ctx, sql, [][]byte{[]byte(group), []byte(textArray(topics)), list(parts), list(prev), list(next), []byte(textArray(ids))}, true)
		if err != nil {
			return false, fmt.Errorf("move offsets of group %s: %w", group, err)
		}
		if n != int64(len(topics)) {
			return false, nil
		}
	}
	return true, nil
}

// textArray renders a text[] literal.
func textArray(list []string) string {
	elems := make([]replication.Value, len(list))
	for i, s := range list {
		elems[i] = replication.StringValue(replication.KindString, s)
	}
	return string(appendArray(nil, elems, 0))
}

// applied reports whether every offset already stands at its Next: a commit
// whose acknowledgement got lost did happen.
func (w *Writer) applied(ctx context.Context, group string, offsets []sink.Offset) (bool, error) {
	return apply.Applied(offsets, func(topics []string) (map[string]map[int32]int64, error) { return w.Offsets(ctx, group, topics) })
}
