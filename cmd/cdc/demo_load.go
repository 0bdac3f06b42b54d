package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// load is the shop's business: several workers, each with a connection.
type load struct {
	url     string
	rate    int          // rows a second at most; 0: no bound
	bound   int64        // ends when so many rows are committed; 0: never
	rows    atomic.Int64 // committed, those before the load included
	commits atomic.Int64
	started time.Time
	first   int64 // rows when it started
}

const loadWorkers = 3

// run works until ctx ends or the bound is reached. What it began it ends: no
// transaction is cut off in its commit.
func (l *load) run(ctx context.Context) error {
	l.started, l.first = time.Now(), l.rows.Load()
	var g errgroup.Group
	for i := range loadWorkers {
		g.Go(func() error {
			w := &worker{load: l, number: i, rand: rand.New(rand.NewPCG(uint64(i), 2026))}
			if err := w.run(ctx); err != nil {
				return fmt.Errorf("load: %w", err)
			}
			return nil
		})
	}
	return g.Wait()
}

// full reports whether the bound is reached.
func (l *load) full() bool { return l.bound > 0 && l.rows.Load() >= l.bound }

// pace waits as long as the rate wants it, or until ctx ends.
func (l *load) pace(ctx context.Context) {
	if l.rate == 0 {
		return
	}
	due := l.started.Add(time.Duration(float64(l.rows.Load()-l.first) / float64(l.rate) * float64(time.Second)))
	t := time.NewTimer(time.Until(due))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// worker has products, customers and orders of its own, so that it knows their
// keys; the bulk updates concern everybody's.
type worker struct {
	*load
	number    int
	rand      *rand.Rand
	conn      *pgx.Conn
	skus      []string
	customers int64
	orders    []shopOrder
}

type shopOrder struct {
	id    string
	lines int
}

// action is one kind of transaction. run returns the rows it changed, and what
// the worker must remember once they are committed.
type action struct {
	weight int
	run    func(*worker, context.Context, pgx.Tx) (rows int64, committed func(), err error)
}

var actions = []action{
	{30, (*worker).placeOrder},
	{25, (*worker).advanceOrder},
	{15, (*worker).changeCustomer},
	{8, (*worker).cancelOrder},
	{6, (*worker).describeProduct},
	{5, (*worker).renameProduct},
	{5, (*worker).renumberLine},
	{4, (*worker).newCustomer},
	{4, (*worker).half},
}

func (w *worker) run(ctx context.Context) (err error) {
	// A transaction that began is ended in peace; ctx counts between two.
	calm := context.WithoutCancel(ctx)
	if w.conn, err = pgx.Connect(calm, w.url); err != nil {
		return err
	}
	defer w.conn.Close(calm) // nothing is open
	if err := w.learn(calm); err != nil {
		return err
	}
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	bulk := time.Now().Add(2 * time.Second)
	for {
		w.pace(ctx)
		if ctx.Err() != nil || w.full() {
			return nil
		}
		do := actions[len(actions)-1].run
		for n, i := w.rand.IntN(total), 0; i < len(actions); i++ {
			if n -= actions[i].weight; n < 0 {
				do = actions[i].run
				break
			}
		}
		if w.number == 0 && time.Now().After(bulk) {
			do, bulk = (*worker).bulk, time.Now().Add(3*time.Second)
		}
		if err := w.transact(calm, do, w.rand.IntN(20) == 0); err != nil {
			return err
		}
	}
}

// learn reads the keys that are the worker's.
func (w *worker) learn(ctx context.Context) error {
	if err := w.conn.QueryRow(ctx, `SELECT count(*) FROM customers`).Scan(&w.customers); err != nil {
		return err
	}
	rows, err := w.conn.Query(ctx, `SELECT sku FROM products ORDER BY sku`)
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for i, sku := range all {
		if i%loadWorkers == w.number {
			w.skus = append(w.skus, sku)
		}
	}
	return nil
}

// transact does one transaction, and undoes it when it is to be rolled back or
// met another one in a deadlock.
func (w *worker) transact(ctx context.Context, do func(*worker, context.Context, pgx.Tx) (int64, func(), error), undo bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tx, err := w.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) // after a commit it does nothing
	rows, committed, err := do(w, ctx, tx)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "40P01" {
		return nil
	}
	if err != nil || undo {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	w.rows.Add(rows)
	w.commits.Add(1)
	if committed != nil {
		committed()
	}
	return nil
}

// steps runs statements and sums up the rows they changed.
type steps struct {
	ctx  context.Context
	tx   pgx.Tx
	rows int64
	err  error // the first
}

func (s *steps) do(sql string, args ...any) {
	if s.err != nil {
		return
	}
	tag, err := s.tx.Exec(s.ctx, sql, args...)
	s.rows, s.err = s.rows+tag.RowsAffected(), err
}

func (w *worker) customer() int64 {
	return 1 + w.rand.Int64N(w.customers/loadWorkers)*loadWorkers + int64(w.number)
}

func (w *worker) sku() string { return w.skus[w.rand.IntN(len(w.skus))] }

// some returns one of the texts; an empty one is NULL.
func (w *worker) some(texts ...string) any {
	if t := texts[w.rand.IntN(len(texts))]; t != "" {
		return t
	}
	return nil
}

func (w *worker) newID() string {
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", w.rand.Uint32(), w.rand.Uint32N(1<<16), w.rand.Uint32N(1<<16), w.rand.Uint32N(1<<16), w.rand.Uint64N(1<<48))
}

func (w *worker) cents(below int64) string {
	n := w.rand.Int64N(below)
	return fmt.Sprintf("%d.%02d", n/100, n%100)
}

// placeOrder inserts an order with its lines, takes the products from stock
// (their notes stay unchanged and out of the log) and charges the customer.
func (w *worker) placeOrder(ctx context.Context, tx pgx.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	o := shopOrder{id: w.newID(), lines: 1 + w.rand.IntN(5)}
	customer, total := w.customer(), w.cents(100_000)
	s.do(`INSERT INTO orders (id, customer_id, status, total, placed_at, sent_at, wanted_at, note)
	      VALUES ($1::text::uuid, $2, 'new', $3::text::numeric, clock_timestamp(), $4::text::timestamptz, $5::text::time, $6)`,
		o.id, customer, total, w.some("", "", "infinity", "2026-12-24 18:00:00.5+01"), w.some("", "24:00:00", "07:15:00.000001"),
		w.some("", "left of the door", "«ünïcödé» 🎁", strings.Repeat("long ", 30)))
	for i := range o.lines {
		sku := w.sku()
		s.do(`INSERT INTO order_lines (order_id, line, sku, quantity, price, discount) VALUES ($1::text::uuid, $2, $3, $4, $5::text::numeric, $6::text::real)`,
			o.id, i+1, sku, 1+w.rand.IntN(9), w.cents(20_000), w.some("", "0.1", "NaN", "-0"))
		s.do(`UPDATE products SET stock = stock - 1, changed_at = clock_timestamp() WHERE sku = $1`, sku)
	}
	s.do(`UPDATE customers SET balance = balance - $2::text::numeric, changed_at = clock_timestamp() WHERE id = $1`, customer, total)
	return s.rows, func() { w.orders = append(w.orders, o) }, s.err
}

func (w *worker) advanceOrder(ctx context.Context, tx pgx.Tx) (int64, func(), error) {
	if len(w.orders) == 0 {
		return w.placeOrder(ctx, tx)
	}
	s := &steps{ctx: ctx, tx: tx}
	s.do(`UPDATE orders SET status = CASE status WHEN 'new' THEN 'paid' WHEN 'paid' THEN 'packed' ELSE 'sent' END::order_status,
	      sent_at = CASE WHEN status = 'packed' THEN clock_timestamp() END, note = nullif(note, 'left of the door') WHERE id = $1::text::uuid`,
		w.orders[w.rand.IntN(len(w.orders))].id)
	return s.rows, nil, s.err
}

func (w *worker) changeCustomer(ctx context.Context, tx pgx.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	s.do(`UPDATE customers SET name = left(name || coalesce($2::text, ''), 200), tags = CASE WHEN cardinality(tags) > 6 THEN '{}' ELSE tags || $3::text END,
	      address = $4::text::jsonb, born = $5::text::date, changed_at = clock_timestamp() WHERE id = $1`,
		w.customer(), w.some("", "'", "\\", "é"), w.some("", "null", "{}", `"q"`, "tab\t"),
		w.some("", `{"city":"Łódź","big":12345678901234567890.123,"nested":{"a":[1,null,"x"]}}`), w.some("", "0001-01-01", "2000-02-29", "infinity"))
	return s.rows, nil, s.err
}

func (w *worker) newCustomer(ctx context.Context, tx pgx.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	s.do(`INSERT INTO customers (email, name, balance) VALUES ($1, $2, -9999999999.99)`, w.newID()+"@example.org", "New "+w.newID())
	return s.rows, nil, s.err
}

// cancelOrder deletes an order and its lines.
func (w *worker) cancelOrder(ctx context.Context, tx pgx.Tx) (int64, func(), error) {
	if len(w.orders) == 0 {
		return w.placeOrder(ctx, tx)
	}
	s := &steps{ctx: ctx, tx: tx}
	i := w.rand.IntN(len(w.orders))
	s.do(`DELETE FROM order_lines WHERE order_id = $1::text::uuid`, w.orders[i].id)
	s.do(`DELETE FROM orders WHERE id = $1::text::uuid`, w.orders[i].id)
	return s.rows, func() {
		last := len(w.orders) - 1
		w.orders[i] = w.orders[last]
		w.orders = w.orders[:last]
	}, s.err
}

// describeProduct writes a text that is stored out of line, and a picture.
func (w *worker) describeProduct(ctx context.Context, tx pgx.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	picture := make([]byte, w.rand.IntN(3000))
	for i := range picture {
		picture[i] = byte(w.rand.Uint32())
	}
	s.do(`UPDATE products SET notes = (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, $2::int)), picture = $3 WHERE sku = $1`,
		w.sku(), 70+w.rand.IntN(200), picture)
	return s.rows, nil, s.err
}

// renameProduct changes a key: the old one must go from the target.
func (w *worker) renameProduct(ctx context.Context, tx pgx.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	i, sku := w.rand.IntN(len(w.skus)), "SKU-"+w.newID()[:18]
	s.do(`UPDATE products SET sku = $2 WHERE sku = $1`, w.skus[i], sku)
	return s.rows, func() { w.skus[i] = sku }, s.err
}

// renumberLine changes one column of a key of two.
func (w *worker) renumberLine(ctx context.Context, tx pgx.Tx) (int64, func(), error) {
	if len(w.orders) == 0 {
		return w.placeOrder(ctx, tx)
	}
	s := &steps{ctx: ctx, tx: tx}
	s.do(`UPDATE order_lines SET line = line + 100 WHERE order_id = $1::text::uuid AND line = 1`, w.orders[w.rand.IntN(len(w.orders))].id)
	return s.rows, nil, s.err
}

// half does one thing, another one in a savepoint that it rolls back, and a third.
func (w *worker) half(ctx context.Context, tx pgx.Tx) (int64, func(), error) {
	rows, committed, err := w.placeOrder(ctx, tx)
	if err != nil {
		return 0, nil, err
	}
	inner, err := tx.Begin(ctx)
	if err != nil {
		return 0, nil, err
	}
	if _, _, err := w.describeProduct(ctx, inner); err != nil {
		return 0, nil, err
	}
	if _, _, err := w.newCustomer(ctx, inner); err != nil {
		return 0, nil, err
	}
	if err := inner.Rollback(ctx); err != nil {
		return 0, nil, err
	}
	more, _, err := w.changeCustomer(ctx, tx)
	return rows + more, committed, err
}

// bulk changes many rows with one statement.
func (w *worker) bulk(ctx context.Context, tx pgx.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	if w.rand.IntN(2) == 0 {
		s.do(`UPDATE products SET price = round(price * 1.01, 2), attributes = attributes || '{"sale": true}'`)
	} else {
		s.do(`UPDATE customers SET vip = NOT vip, balance = balance + 0.01 WHERE id % 3 = $1`, w.rand.IntN(3))
	}
	return s.rows, nil, s.err
}
