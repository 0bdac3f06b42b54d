package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cdc/mapping"
	"cdc/replication"
)

// ErrDrain says that not all in flight was acknowledged within DrainTimeout.
var ErrDrain = errors.New("drain")

// closeTimeout bounds the closing of the source after the drain.
const closeTimeout = 5 * time.Second

// Run moves changes until ctx ends or something fails, and then ends in order:
// it stops reading, waits for what is in flight within DrainTimeout, saves the
// last safe position, tells the source, and closes it. It returns nil after a
// clean drain that ctx's end began, else the first error; a drain that ran out
// of time is an error of its own that says how many records were not
// acknowledged: they are published again by the next run.
//
// Three goroutines work, and Run waits for each. The reader takes a batch, maps
// it and hands it to the producer. The settler books what the broker has
// acknowledged. The saver saves the newest safe position, then tells the source.
func (p *Pipeline) Run(ctx context.Context) error {
	unregister, err := p.metrics.register(p.cfg.Registerer)
	if err != nil {
		return errors.Join(err, p.closeSource(ctx))
	}
	defer unregister()
	p.advance()
	p.running.Store(true)
	defer p.running.Store(false)

	// reading ends first; finishing goes on until everything is settled and
	// saved, or until the drain has run out of time.
	reading, stop := context.WithCancel(ctx)
	defer stop()
	finishing, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	var first firstError
	fail := func(err error) {
		if err != nil && first.set(err) {
			stop()
		}
	}

	var reader, settler, saver sync.WaitGroup
	reader.Go(func() { fail(p.read(reading, finishing)) })
	settler.Go(func() { p.settle(finishing, fail) })
	saver.Go(func() { fail(p.save(finishing)) })

	<-reading.Done()
	p.log.Info("stopped reading, draining", "records", p.flights.load().records)
	drain := time.AfterFunc(p.cfg.DrainTimeout, abandon)
	defer drain.Stop()
	reader.Wait()
	p.flights.close()
	settler.Wait()
	p.saves.close()
	saver.Wait()

	fail(p.closeSource(ctx))
	err = first.get()
	if l := p.flights.load(); l.flights > 0 {
		err = errors.Join(err, fmt.Errorf("%w: %d records in %d batches were not acknowledged within %s; the next start publishes them again",
			ErrDrain, l.records, l.flights, p.cfg.DrainTimeout))
	}
	return err
}

// read is the reader: source → mapper → producer.
//
// Mapping is a stage of its own beside the source's decoding, which has its own
// goroutine, and the producer's compressing, which has another, but it is not
// parallel in itself. One goroutine maps about five million rows of ten columns
// a second (BenchmarkMap in mapping: 186 ns a row), twenty times what one
// walsender sends. Workers would need a place that puts their batches in order
// again, and a batch more in memory each.
func (p *Pipeline) read(reading, finishing context.Context) error {
	for {
		if p.flights.waitForRoom(reading) != nil {
			return nil //nolint:nilerr // stopped
		}
		b, err := p.cfg.Source.Next(reading)
		if err != nil {
			if reading.Err() != nil {
				return nil //nolint:nilerr // stopped
			}
			return fmt.Errorf("read changes: %w", err)
		}
		p.busy.Store(true)
		p.advance()
		err = p.publish(reading, finishing, b)
		p.busy.Store(false)
		if err != nil {
			if reading.Err() != nil && errors.Is(err, reading.Err()) {
				return nil // stopped in the middle of a batch, which is read again
			}
			return err
		}
	}
}

// publish maps b, releases it, and hands the records to the producer. When a row
// ends the run the records before it are published all the same, but without
// b's position.
func (p *Pipeline) publish(reading, finishing context.Context, b *replication.Batch) error {
	f := p.flights.get()
	err := p.mapAll(reading, finishing, b, &f.records)
	position := b.Position
	b.Release()
	if err != nil {
		if _, isRow := errors.AsType[*mapping.RowError](err); !isRow {
			return err
		}
		position = ""
	}
	f.count()
	p.flights.takeOff(f, position)
	if len(f.records.List) == 0 { // only a position, or nothing
		f.done(nil)
		return err
	}
	p.cfg.Producer.Produce(finishing, &f.records, f.done)
	return err
}

// mapAll maps all changes of b. A row that cannot be mapped goes to the dead
// letters, or is left out, if that is chosen: the batch's position is passed on only after Put
// has returned for each of them.
func (p *Pipeline) mapAll(reading, finishing context.Context, b *replication.Batch, out *mapping.Records) error {
	all := b.Changes
	defer func() { b.Changes = all }()
	for {
		err := p.cfg.Mapper.Map(reading, b, out)
		row, isRow := errors.AsType[*mapping.RowError](err)
		if !isRow || row.Index < 0 || row.Index >= len(b.Changes) {
			return err
		}
		action := p.cfg.OnError
		if row.OnError != "" {
			action = row.OnError
		}
		switch {
		case action == OnErrorSkip && row.OnError != "":
			p.metrics.rowError(row.Table, OnErrorSkip)
			p.log.Warn("row is skipped", "table", row.Table, "key", row.Key, "error", row)
		case action == OnErrorDeadLetter && p.cfg.DeadLetters != nil:
			p.metrics.rowError(row.Table, OnErrorDeadLetter)
			if err := p.cfg.DeadLetters.Put(finishing, &b.Changes[row.Index], row); err != nil {
				return fmt.Errorf("put dead letter: %w (the row: %s)", err, row.Error())
			}
			p.log.Warn("row went to the dead letters", "table", row.Table, "key", row.Key, "error", row)
		default:
			p.metrics.rowError(row.Table, OnErrorStop)
			return refuseRow(err)
		}
		b.Changes = b.Changes[row.Index+1:]
	}
}

// refuseRow makes a row that ends the run something that a person must mend.
func refuseRow(err error) error {
	row, isRow := errors.AsType[*mapping.RowError](err)
	if !isRow || replication.IsRefusal(err) {
		return err
	}
	remedy := "mend what it complains of, or set on_error: dead-letter, which puts such rows aside with the reason; the change is in the log, so that deleting the row does not help"
	if row.OnError != "" { // of an outbox
		remedy = "mend what it complains of, or set on_error: dead-letter (or skip) for this outbox, which puts such messages aside with the reason; " +
			"the message is in the log, so that deleting its row does not help"
	}
	return &replication.Refusal{Problem: "a row cannot be published", Remedy: remedy, Err: err}
}

// closeSource closes the source, even after ctx has ended.
func (p *Pipeline) closeSource(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := p.cfg.Source.Close(ctx); err != nil {
		return fmt.Errorf("close source: %w", err)
	}
	return nil
}

// settle is the settler: it books flights that have landed until the last one
// has, or until finishing ends. A flight that failed ends the run, but those
// around it are booked to the end.
func (p *Pipeline) settle(finishing context.Context, fail func(error)) {
	var landed []*flight
	for last := false; !last; {
		select {
		case <-p.flights.wake:
		case <-finishing.Done():
			return // Run says what is missing
		}
		landed, last = p.flights.take(landed)
		if len(landed) == 0 {
			continue
		}
		now := time.Now()
		for _, f := range landed {
			if f.err == nil {
				p.metrics.published(f, now)
			} else if finishing.Err() == nil {
				fail(refuseRow(fmt.Errorf("publish records: %w", f.err)))
			}
		}
		if safe := p.flights.settle(landed); safe != "" {
			p.saves.offer(safe)
		}
		p.advance()
	}
}

// advance notes that something went forward.
func (p *Pipeline) advance() { p.progress.Store(time.Now().UnixNano()) }

// firstError keeps the first of several errors.
type firstError struct {
	mu  sync.Mutex
	err error
}

// set keeps err and reports true if it is the first one.
func (e *firstError) set(err error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return false
	}
	e.err = err
	return true
}

func (e *firstError) get() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}
