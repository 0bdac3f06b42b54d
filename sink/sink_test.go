package sink_test

import (
	"testing"

	"cdc/replication"
)

func intCol(name string) replication.Column {
	return replication.Column{Name: name, Kind: replication.KindInt, Bits: 64, NotNull: true, TypeName: "bigint"}
}

func textCol(name string) replication.Column {
	return replication.Column{Name: name, Kind: replication.KindString, TypeName: "text"}
}

func num(n int64) replication.Value { return replication.IntValue(n) }
func text(s string) replication.Value {
	return replication.StringValue(replication.KindString, s)
}

func TestUpsertAndDelete(t *testing.T) {
	w := newWorld(t)
	topic := w.topic("orders", 2)
	f := w.feed(topic, []replication.Column{intCol("id"), textCol("note")}, "id")
	w.produce(
		f.row(replication.OpRead, num(1), text("one")),
		f.row(replication.OpInsert, num(2), text("two")),
		f.row(replication.OpInsert, num(3), replication.Null),
		f.row(replication.OpUpdate, num(1), text("uno")),
		f.row(replication.OpDelete, num(2)),
	)
	cfg := w.config(topic)
	r := w.run(cfg)
	w.applied("cdc_"+cfg.Name, topic)
	if got, want := w.dump(`SELECT * FROM `+table(topic)), "(1,uno)\n(3,)"; got != want {
		t.Errorf("rows: got %q, want %q", got, want)
	}
	w.produce(f.row(replication.OpDelete, num(1)), f.row(replication.OpInsert, num(2), text("two again")))
	w.applied("cdc_"+cfg.Name, topic)
	if got, want := w.dump(`SELECT * FROM `+table(topic)), "(2,\"two again\")\n(3,)"; got != want {
		t.Errorf("rows: got %q, want %q", got, want)
	}
	if err := r.end(); err != nil {
		t.Errorf("stop: %v", err)
	}
}
