package mysql

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"cdc/replication"
	"cdc/sink"
	"cdc/sink/apply"
)

// offsetsDDL makes the table. Names are compared by their bytes; no group is
// called "", which is where the table's own id stands.
func (w *Writer) offsetsDDL() string {
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (group_name varchar(255) NOT NULL, topic varchar(249) NOT NULL, `partition` int NOT NULL, "+
		"next_offset bigint NOT NULL, topic_id varchar(255), updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), "+
		"PRIMARY KEY (group_name, topic, `partition`)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", w.offsets)
}

func (w *Writer) ensureOffsets(ctx context.Context) error {
	rows, err := w.query(ctx, fmt.Sprintf("SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
		quoteText(w.cfg.Schema), quoteText(w.cfg.OffsetsTable)))
	if err != nil {
		return fmt.Errorf("look for table %s: %w", w.offsets, err)
	}
	if rows[0][0].text == "0" {
		_, err := w.exec(ctx, w.offsetsDDL())
		switch {
		case err == nil:
			w.log.Info("created the offsets table", "table", w.offsets)
		case number(err) == tableExists: // another sink made it at the same moment
		case denied(err):
			return &replication.Refusal{
				Problem: fmt.Sprintf("the offsets table %s is absent and may not be created", w.offsets),
				Remedy:  w.offsetsDDL() + "; grant SELECT, INSERT, UPDATE on it",
				Err:     err,
			}
		default:
			return fmt.Errorf("create table %s: %w", w.offsets, err)
		}
	}
	_, err = w.exec(ctx, "INSERT IGNORE INTO "+w.offsets+" (group_name, topic, `partition`, next_offset, topic_id) VALUES ('', '', 0, 0, uuid())")
	if denied(err) {
		return &replication.Refusal{
			Problem: fmt.Sprintf("the offsets table %s may not be written", w.offsets),
			Remedy:  fmt.Sprintf("GRANT SELECT, INSERT, UPDATE ON %s TO the sink's user", w.offsets), Err: err,
		}
	}
	if err != nil {
		return fmt.Errorf("write to table %s: %w", w.offsets, err)
	}
	return nil
}

// Identity implements sink.Writer: an id that the offsets table itself holds,
// so that it follows the table to another server.
func (w *Writer) Identity(ctx context.Context) (string, error) {
	var id string
	err := w.retry(ctx, "reading its identity", func() error {
		rows, err := w.query(ctx, "SELECT topic_id FROM "+w.offsets+" WHERE group_name = '' AND topic = '' AND `partition` = 0")
		if err != nil {
			return fmt.Errorf("read the identity of the sink's database: %w", err)
		}
		if len(rows) == 1 {
			id = rows[0][0].text
		}
		return nil
	})
	return id, err
}

// whereTopics is the condition for a group's rows of those topics.
func whereTopics(group string, topics []string) string {
	list := make([]string, len(topics)+1)
	list[0] = "NULL" // equals nothing, and keeps an empty list legal
	for i, t := range topics {
		list[i+1] = quoteText(t)
	}
	return " WHERE group_name = " + quoteText(group) + " AND topic IN (" + strings.Join(list, ", ") + ")"
}

// TopicIDs implements sink.Writer.
func (w *Writer) TopicIDs(ctx context.Context, group string, topics []string) (map[string]string, error) {
	var out map[string]string
	err := w.retry(ctx, "reading topics' ids", func() error {
		out = map[string]string{}
		rows, err := w.query(ctx, "SELECT DISTINCT topic, topic_id FROM "+w.offsets+whereTopics(group, topics)+" AND topic_id IS NOT NULL")
		if err != nil {
			return fmt.Errorf("read topics' ids of group %s: %w", group, err)
		}
		for _, r := range rows {
			out[r[0].text] = r[1].text
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
		rows, err := w.query(ctx, "SELECT topic, `partition`, next_offset FROM "+w.offsets+whereTopics(group, topics))
		if err != nil {
			return fmt.Errorf("read offsets of group %s: %w", group, err)
		}
		for _, r := range rows {
			p, err1 := strconv.ParseInt(r[1].text, 10, 32)
			n, err2 := strconv.ParseInt(r[2].text, 10, 64)
			if err1 != nil || err2 != nil {
				return fmt.Errorf("read offsets of group %s: partition %q, offset %q", group, r[1].text, r[2].text)
			}
			if out[r[0].text] == nil {
				out[r[0].text] = map[int32]int64{}
			}
			out[r[0].text][int32(p)] = n
		}
		return nil
	})
	return out, err
}

// moveOffsets begins a transaction, moves each offset from From to Next and
// reports whether all of them still were at From. It comes first in a
// transaction: its row locks keep a member that lost a partition from writing
// beside the one that has it, and the sorted order keeps two of them from
// deadlocking.
func (w *Writer) moveOffsets(ctx context.Context, group string, offsets []sink.Offset) (bool, error) {
	sorted := apply.Sorted(offsets)
	g := quoteText(group)
	id := func(o sink.Offset) string {
		if o.TopicID == "" {
			return "NULL"
		}
		return quoteText(o.TopicID)
	}
	var sql strings.Builder
	sql.WriteString("START TRANSACTION")
	known, fresh := int64(0), int64(0)
	for _, o := range sorted {
		if o.From < 0 {
			fresh++
			continue
		}
		known++
		fmt.Fprintf(&sql, "; UPDATE %s SET next_offset = %d, topic_id = coalesce(%s, topic_id) WHERE group_name = %s AND topic = %s AND `partition` = %d AND next_offset = %d",
			w.offsets, o.Next, id(o), g, quoteText(o.Topic), o.Partition, o.From)
	}
	if fresh > 0 {
		sep := fmt.Sprintf("; INSERT IGNORE INTO %s (group_name, topic, `partition`, next_offset, topic_id) VALUES ", w.offsets)
		for _, o := range sorted {
			if o.From < 0 {
				fmt.Fprintf(&sql, "%s(%s, %s, %d, %d, %s)", sep, g, quoteText(o.Topic), o.Partition, o.Next, id(o))
				sep = ", "
			}
		}
	}
	moved, err := w.exec(ctx, sql.String())
	if err != nil {
		return false, fmt.Errorf("move offsets of group %s: %w", group, err)
	}
	total := int64(0)
	for _, n := range moved {
		total += n
	}
	return total == known+fresh, nil
}

// applied reports whether every offset already stands at its Next: a commit
// whose acknowledgement got lost did happen.
func (w *Writer) applied(ctx context.Context, group string, offsets []sink.Offset) (bool, error) {
	return apply.Applied(offsets, func(topics []string) (map[string]map[int32]int64, error) { return w.Offsets(ctx, group, topics) })
}
