package mysql

import "cdc/replication"

// logEvent says where in the log the changes of the event at hand stand that go
// into b; nil when nobody asks. Events inside a transaction of MariaDB 11 and
// newer do not tell where they begin: theirs is the transaction's.
func (r *reader) logEvent(b *batch) *replication.LogEvent {
	if !r.cfg.Describe {
		return nil
	}
	if r.at.log == nil || r.at.batch != b {
		r.at.log, r.at.batch = b.LogEvent(), b
		*r.at.log = replication.LogEvent{
			File: b.Copy([]byte(r.file)), Offset: r.at.offset, First: r.at.first, Time: int64(r.at.time) * 1e6,
			Server: r.at.server, GTID: r.tx.id.form != placeFile, Thread: r.tx.thread - 1,
		}
	}
	return r.at.log
}

// logEvent says where the snapshot stands; nil when nobody asks.
func (w *snapshotWriter) logEvent() *replication.LogEvent {
	if !w.describe {
		return nil
	}
	e := w.b.LogEvent()
	*e = replication.LogEvent{File: w.b.Copy([]byte(w.file)), Offset: w.offset, First: w.index, Thread: -1}
	return e
}
