package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// load is the shop's business: several workers, each with a connection.
type load struct {
	shop    *dialect
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
	conn      *shopConn
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
	run    func(*worker, context.Context, *sql.Tx) (rows int64, committed func(), err error)
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
	if w.conn, err = w.shop.connect(calm, w.url); err != nil {
		return err
	}
	defer w.conn.close()
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
	if err := w.conn.QueryRowContext(ctx, `SELECT count(*) FROM customers`).Scan(&w.customers); err != nil {
		return err
	}
	rows, err := w.conn.QueryContext(ctx, `SELECT sku FROM products ORDER BY sku`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for i := 0; rows.Next(); i++ {
		var sku string
		if err := rows.Scan(&sku); err != nil {
			return err
		}
		if i%loadWorkers == w.number {
			w.skus = append(w.skus, sku)
		}
	}
	return rows.Err()
}

// transact does one transaction, and undoes it when it is to be rolled back or
// met another one in a deadlock.
func (w *worker) transact(ctx context.Context, do func(*worker, context.Context, *sql.Tx) (int64, func(), error), undo bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tx, err := w.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	rows, committed, err := do(w, ctx, tx)
	if w.shop.deadlock(err) {
		return nil
	}
	if err != nil || undo {
		return err
	}
	if err := tx.Commit(); err != nil {
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
	tx   *sql.Tx
	rows int64
	err  error // the first
}

func (s *steps) do(sql string, args ...any) {
	if s.err != nil {
		return
	}
	result, err := s.tx.ExecContext(s.ctx, sql, args...)
	if err != nil {
		s.err = err
		return
	}
	n, err := result.RowsAffected()
	s.rows, s.err = s.rows+n, err
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
// (on PostgreSQL their notes stay unchanged and out of the log) and charges the
// customer.
func (w *worker) placeOrder(ctx context.Context, tx *sql.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	o := shopOrder{id: w.newID(), lines: 1 + w.rand.IntN(5)}
	customer, total := w.customer(), w.cents(100_000)
	s.do(w.shop.insertOrder, o.id, customer, total, w.some(w.shop.sent...), w.some(w.shop.wanted...),
		w.some("", "left of the door", "«ünïcödé» 🎁", strings.Repeat("long ", 30)))
	for i := range o.lines {
		sku := w.sku()
		s.do(w.shop.insertLine, o.id, i+1, sku, 1+w.rand.IntN(9), w.cents(20_000), w.some(w.shop.discounts...))
		s.do(w.shop.takeFromStock, sku)
	}
	s.do(w.shop.charge, total, customer)
	return s.rows, func() { w.orders = append(w.orders, o) }, s.err
}

func (w *worker) advanceOrder(ctx context.Context, tx *sql.Tx) (int64, func(), error) {
	if len(w.orders) == 0 {
		return w.placeOrder(ctx, tx)
	}
	s := &steps{ctx: ctx, tx: tx}
	s.do(w.shop.advanceOrder, w.orders[w.rand.IntN(len(w.orders))].id)
	return s.rows, nil, s.err
}

func (w *worker) changeCustomer(ctx context.Context, tx *sql.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	s.do(w.shop.changeCustomer, w.some("", "'", "\\", "é"), w.some(w.shop.tags...), w.some(w.shop.addresses...), w.some(w.shop.born...), w.customer())
	return s.rows, nil, s.err
}

func (w *worker) newCustomer(ctx context.Context, tx *sql.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	s.do(w.shop.newCustomer, w.newID()+"@example.org", "New "+w.newID())
	return s.rows, nil, s.err
}

// cancelOrder deletes an order and its lines.
func (w *worker) cancelOrder(ctx context.Context, tx *sql.Tx) (int64, func(), error) {
	if len(w.orders) == 0 {
		return w.placeOrder(ctx, tx)
	}
	s := &steps{ctx: ctx, tx: tx}
	i := w.rand.IntN(len(w.orders))
	s.do(w.shop.deleteLines, w.orders[i].id)
	s.do(w.shop.deleteOrder, w.orders[i].id)
	return s.rows, func() {
		last := len(w.orders) - 1
		w.orders[i] = w.orders[last]
		w.orders = w.orders[:last]
	}, s.err
}

// describeProduct writes a text that PostgreSQL stores out of line, and a picture.
func (w *worker) describeProduct(ctx context.Context, tx *sql.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	s.do(w.shop.describe, hex.EncodeToString(w.bytes(16*(70+w.rand.IntN(200)))), w.bytes(w.rand.IntN(3000)), w.sku())
	return s.rows, nil, s.err
}

func (w *worker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.rand.Uint32())
	}
	return b
}

// renameProduct changes a key: the old one must go from the target.
func (w *worker) renameProduct(ctx context.Context, tx *sql.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	i, sku := w.rand.IntN(len(w.skus)), "SKU-"+w.newID()[:18]
	s.do(w.shop.renameProduct, sku, w.skus[i])
	return s.rows, func() { w.skus[i] = sku }, s.err
}

// renumberLine changes one column of a key of two.
func (w *worker) renumberLine(ctx context.Context, tx *sql.Tx) (int64, func(), error) {
	if len(w.orders) == 0 {
		return w.placeOrder(ctx, tx)
	}
	s := &steps{ctx: ctx, tx: tx}
	s.do(w.shop.renumberLine, w.orders[w.rand.IntN(len(w.orders))].id)
	return s.rows, nil, s.err
}

// half does one thing, another one in a savepoint that it rolls back, and a third.
func (w *worker) half(ctx context.Context, tx *sql.Tx) (int64, func(), error) {
	rows, committed, err := w.placeOrder(ctx, tx)
	if err != nil {
		return 0, nil, err
	}
	s := &steps{ctx: ctx, tx: tx}
	s.do(`SAVEPOINT inner_one`)
	if s.err != nil {
		return 0, nil, s.err
	}
	if _, _, err := w.describeProduct(ctx, tx); err != nil {
		return 0, nil, err
	}
	if _, _, err := w.newCustomer(ctx, tx); err != nil {
		return 0, nil, err
	}
	if s.do(`ROLLBACK TO SAVEPOINT inner_one`); s.err != nil {
		return 0, nil, s.err
	}
	more, _, err := w.changeCustomer(ctx, tx)
	return rows + more, committed, err
}

// bulk changes many rows with one statement.
func (w *worker) bulk(ctx context.Context, tx *sql.Tx) (int64, func(), error) {
	s := &steps{ctx: ctx, tx: tx}
	if w.rand.IntN(2) == 0 {
		s.do(w.shop.raisePrices)
	} else {
		s.do(w.shop.changeVIPs, w.rand.IntN(3))
	}
	return s.rows, nil, s.err
}
