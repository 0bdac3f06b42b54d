package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"cdc/outbox"
)

// The measured message: a JSON object of some 190 bytes, which becomes an Avro
// record of ten fields, two of them filled in and two of them coerced.
const messageOf = `SELECT '%s', 'customer ' || g %% 1000, jsonb_build_object('id', g, 'customer', 'customer ' || g %% 1000, 'total', ((g %% 100000) / 100.0)::text,
	'at', '2026-01-31T12:30:00.123456Z', 'paid', g %% 2 = 0, 'lines', jsonb_build_array(g %% 7, g %% 11), 'state', 'NEW', 'note', md5(g::text)) FROM generate_series`

const messageSchema = `{"type":"record","name":"Order","fields":[
	{"name":"message_id","type":"string"},{"name":"timestamp","type":"string"},{"name":"id","type":"long"},{"name":"customer","type":"string"},
	{"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
	{"name":"paid","type":"boolean"},{"name":"lines","type":{"type":"array","items":"int"}},
	{"name":"state","type":{"type":"enum","name":"State","symbols":["NEW","DONE"]}},{"name":"note","type":["null","string"],"default":null}]}`

// outboxTable makes the table that cdc outbox ddl prints.
func outboxTable(ctx context.Context, conn *pgx.Conn) error {
	ddl, err := outbox.DDL{}.SQL()
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, ddl)
	return err
}

// outbox drains a backlog of messages twice a round: as they are, and from JSON
// to Avro.
func (b *bench) outbox(ctx context.Context) error {
	url, conn, err := b.cluster(ctx, "outbox")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	fmt.Printf("outbox: a backlog of %d messages in 100-message transactions, raw and to Avro\n", b.rows)
	if err := outboxTable(ctx, conn); err != nil {
		return err
	}
	topic := b.env.id + "_outbox"
	if err := b.register(ctx, topic); err != nil {
		return err
	}
	for i := range b.rounds {
		for _, kind := range []string{"raw", "avro"} {
			err := execAll(ctx, conn, fmt.Sprintf(`CREATE PUBLICATION cdc_%s%d FOR TABLE outbox`, kind, i),
				fmt.Sprintf(`SELECT pg_create_logical_replication_slot('cdc_%s%d', 'pgoutput')`, kind, i))
			if err != nil {
				return err
			}
		}
	}
	err = execAll(ctx, conn, `CREATE PROCEDURE fill(n bigint, per bigint) LANGUAGE plpgsql AS $$
		BEGIN
			FOR i IN 0 .. (n - 1) / per LOOP
				INSERT INTO outbox (topic, key, payload) `+fmt.Sprintf(messageOf, topic)+`(1 + i * per, least((i + 1) * per, n)) g;
				COMMIT;
			END LOOP;
		END $$`)
	if err != nil {
		return err
	}
	if err := fill(ctx, conn, b.rows, 100); err != nil {
		return err
	}
	if _, err := walEnd(ctx, conn); err != nil {
		return err
	}
	published := 0
	for i := range b.rounds {
		for _, kind := range []struct{ name, payload string }{{"raw", "bytes"}, {"avro", "avro"}} {
			p, err := b.env.captureOutbox(fmt.Sprintf("%s%d", kind.name, i), url, kind.payload)
			if err != nil {
				return err
			}
			published += b.rows
			m, err := p.await(ctx, poll, b.env.published(ctx, topic, published))
			if err != nil {
				return err
			}
			b.add("outbox_"+kind.name+"_per_s", float64(b.rows)/m.elapsed.Seconds())
			fmt.Printf("  %-28s %s\n", "CPU s/million, peak MB", number(m.cpu.Seconds()/float64(b.rows)*1e6)+"  "+number(m.peakMB))
		}
	}
	return b.env.remove(ctx, "outbox")
}

// register makes the topic, and its schema's subject.
func (b *bench) register(ctx context.Context, topic string) error {
	if _, err := b.env.admin.CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		return err
	}
	client, err := sr.NewClient(sr.URLs(b.env.registry))
	if err != nil {
		return err
	}
	_, err = client.CreateSchema(ctx, topic+"-value", sr.Schema{Schema: messageSchema})
	return err
}

// outboxLatency is the latency part for messages of an outbox, JSON to Avro.
func (b *bench) outboxLatency(ctx context.Context) error {
	url, conn, err := b.cluster(ctx, "outbox-latency")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	fmt.Printf("outbox-latency: %d single-message transactions a second for %s, to Avro\n", rate, b.latency)
	if err := outboxTable(ctx, conn); err != nil {
		return err
	}
	round := len(b.samples["outbox_latency_ms_p50"])
	topic := fmt.Sprintf("%s_outbox_latency%d", b.env.id, round)
	if err := b.register(ctx, topic); err != nil {
		return err
	}
	p, err := b.env.captureOutbox(fmt.Sprintf("oblat%d", round), url, "avro")
	if err != nil {
		return err
	}
	defer p.abandon()
	// The message of number 0 shows that the way is open: sent until it is.
	insert := `INSERT INTO outbox (topic, key, payload) SELECT topic, $1::text, payload FROM (` + fmt.Sprintf(messageOf, topic) + `($1::bigint, $1::bigint) g) AS m (topic, key, payload)`
	open := false
	if err := until(ctx, p, poll, func() (bool, error) {
		var slot bool
		if err := conn.QueryRow(ctx, `SELECT count(*) > 0 FROM pg_replication_slots WHERE active`).Scan(&slot); err != nil || !slot {
			return false, err
		}
		if !open {
			open = true
			if _, err := conn.Exec(ctx, insert, 0); err != nil {
				return false, err
			}
		}
		return b.env.published(ctx, topic, 1)()
	}); err != nil {
		return err
	}
	known, _, err := b.commits(ctx, url, p, topic, insert, func(r *kgo.Record) (int64, error) { return strconv.ParseInt(string(r.Key), 10, 64) })
	if err != nil {
		return err
	}
	slices.Sort(known)
	b.add("outbox_latency_ms_p50", known[len(known)/2])
	b.add("outbox_latency_ms_p99", known[int(0.99*float64(len(known)-1))])
	return b.env.remove(ctx, "outbox-latency")
}
