package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cdc/config"
	"cdc/embedded"
)

type demoCmd struct {
	Source   string        `enum:"postgres,mysql,mariadb" default:"postgres" help:"The family of databases: postgres (${default}), mysql or mariadb."`
	Duration time.Duration `default:"30s" help:"How long the load runs (${default})."`
	Rows     int64         `placeholder:"N" help:"End the load earlier, once N rows are committed; the rows that are there before it count. 0 sets no such end."`
	Rate     int           `default:"2000" placeholder:"N" help:"Rows a second that the load commits at most (${default}); 0 sets no bound."`
	Keep     bool          `help:"Leave everything running after the comparison until Ctrl-C, and keep the folder."`
	JSON     bool          `name:"json" help:"End standard output with one JSON object; everything else goes to standard error."`
}

func (demoCmd) Help() string {
	return "Starts two databases, a broker and a schema registry on this machine, without any set-up; captures a small shop\n" +
		"under load, sinks it into the second database, and compares the two row by row at the end. PostgreSQL is found on the\n" +
		"machine (" + embedded.EnvPostgresBin + ", PATH, the usual folders), else fetched once into the user's cache. With --source mysql\n" +
		"or mariadb both databases are in one server, whose program must be on the machine (" + embedded.EnvMySQLServer + ",\n" +
		embedded.EnvMariaDBServer + ", PATH, the usual folders); it need not run.\n\n" +
		"rows_committed counts rows that transactions of the source inserted, changed or deleted, seed included; records_published\n" +
		"records that the broker acknowledged (a key change makes two); rows_applied records applied to the target. The latency is\n" +
		"from the commit at the source to the arrival at a Kafka consumer, of transactions committed after the snapshot; MariaDB's\n" +
		"log tells the commit in whole seconds, so there it is up to a second too long.\n\n" +
		"The exit code is 1 when source and target differ. Ctrl-C ends the load and still compares; a second one stops at once.\n\n" +
		"Examples:\n\n  cdc demo\n  cdc demo --duration 20s --json\n  cdc demo --duration 1m --keep\n  cdc demo --source mysql"
}

// demoTables are the captured tables, in the order of docs and output.
var demoTables = []string{"customers", "products", "orders", "order_lines"}

const (
	demoSink      = "copy"
	demoGroup     = "cdc_copy"
	demoSource    = "shop"      // database
	demoTarget    = "warehouse" // database
	settleTimeout = 3 * time.Minute
)

// demo is one run of the command.
type demo struct {
	cmd       *demoCmd
	out       io.Writer // for people
	dir       string
	log       *slog.Logger // to a file: the screen shows counters
	logFile   *os.File
	shop      *dialect
	sourceURL string
	targetURL string
	stop      []func(keep bool) error // the servers
	conf      *config.Config
	adm       *admin
	began     bool // the load did
}

func (c *demoCmd) Run(a *app) (err error) {
	if c.Duration <= 0 || c.Rows < 0 || c.Rate < 0 {
		return usageError{errors.New("demo: --duration must be more than nothing, --rows and --rate not less")}
	}
	d := &demo{cmd: c, out: a.stdout}
	if c.JSON {
		d.out = a.stderr
	}
	if d.dir, err = demoFolder(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, d.clear(err)) }()
	// Where root needs another user for PostgreSQL, that one must come through.
	if err := os.Chmod(d.dir, 0o711); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if d.logFile, err = os.OpenFile(filepath.Join(d.dir, "cdc.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer d.logFile.Close()
	d.log = slog.New(slog.NewTextHandler(d.logFile, nil))
	result, err := d.run(a)
	if err != nil {
		if a.ctx.Err() != nil && !d.began {
			fmt.Fprintln(d.out, "Stopped before the demo had begun.")
			return errSilent
		}
		return fmt.Errorf("demo: %w", err)
	}
	if c.JSON {
		text, err := json.Marshal(result)
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		fmt.Fprintln(a.stdout, string(text))
	}
	if result.Missing+result.Different+result.Extra > 0 {
		return errSilent
	}
	return nil
}

// demoFolder makes a folder among the temporary files, or in the user's cache
// where those may not be written.
func demoFolder() (string, error) {
	dir, err := os.MkdirTemp("", "cdc-demo-")
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return dir, err
	}
	cache, e := os.UserCacheDir()
	if e == nil {
		cache = filepath.Join(cache, "cdc")
		e = os.MkdirAll(cache, 0o700)
	}
	if e != nil {
		return "", errors.Join(err, e)
	}
	return os.MkdirTemp(cache, "demo-")
}

// clear removes the folder, unless it is to be kept or something went wrong.
func (d *demo) clear(failed error) error {
	if failed != nil && !errors.Is(failed, errSilent) {
		if text, err := os.ReadFile(filepath.Join(d.dir, "cdc.log")); err == nil && len(text) > 0 {
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			fmt.Fprintf(d.out, "The end of the log:\n  %s\n", strings.Join(lines[max(0, len(lines)-8):], "\n  "))
		}
		fmt.Fprintf(d.out, "The folder is kept: %s\n", d.dir)
		return nil
	}
	if d.cmd.Keep {
		fmt.Fprintf(d.out, "The folder is kept: %s\n", d.dir)
		return nil
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("demo: remove folder: %w", err)
	}
	return nil
}

// run does everything between making and removing the folder.
func (d *demo) run(a *app) (*demoResult, error) {
	defer d.stopServers()
	if err := d.startServers(a.ctx); err != nil {
		return nil, err
	}
	seeded, err := d.shop.makeShop(a.ctx, d.sourceURL, d.cmd.Rows)
	if err != nil {
		return nil, err
	}
	if err := d.configure(); err != nil {
		return nil, err
	}
	if d.adm, err = startAdmin(config.Admin{Listen: "127.0.0.1:0"}, d.log); err != nil {
		return nil, err
	}
	defer d.adm.close()
	stopServices, err := startEmbedded(d.conf, d.log)
	if err != nil {
		return nil, err
	}
	defer stopServices()
	s, err := newSetup(d.conf, d.log, d.adm.registry)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(d.out, "%d rows are in the shop already: the snapshot reads them.\n", seeded)
	d.explain()

	// The parts outlive a Ctrl-C: what the load committed is still carried over.
	ctx, stop := context.WithCancel(context.WithoutCancel(a.ctx))
	defer stop()
	watch, err := startWatch(s.kafka, d.shop.topics())
	if err != nil {
		return nil, err
	}
	defer watch.close()
	ended := make(chan error, 1)
	go func() { ended <- runParts(ctx, d.parts(s), d.adm, failures(d.log, "text", d.logFile)) }()
	result, err := d.exercise(ctx, a, watch, seeded, ended)
	stop()
	if e, open := <-ended; open && err == nil {
		err = e
	}
	return result, err
}

func (d *demo) parts(s *setup) []part {
	return []part{
		{"capture", func(ctx context.Context, watch func(func() health)) error { return runCapture(ctx, s.capture(), watch) }},
		{"sink " + demoSink, func(ctx context.Context, watch func(func() health)) error {
			return runSink(ctx, s.sink(d.conf.Sinks[0]), watch)
		}},
	}
}

// exercise puts load on the shop, waits until all has arrived, and compares.
// When it returns nil the parts still run; when they ended, their error is it.
func (d *demo) exercise(ctx context.Context, a *app, watch *watch, seeded int64, ended chan error) (*demoResult, error) {
	busy, stopLoad := context.WithCancel(a.ctx)
	defer stopLoad()
	load := &load{shop: d.shop, url: d.sourceURL, rate: d.cmd.Rate, bound: d.cmd.Rows}
	load.rows.Store(seeded)
	screen := newScreen(d.out, load, watch, d.adm.registry)
	working, fail := context.WithCancelCause(ctx)
	gone := make(chan struct{})
	defer func() { fail(nil); <-gone }()
	go func() { // a part that fails ends all of this
		defer close(gone)
		select {
		case err := <-ended:
			close(ended)
			if err == nil {
				err = errors.New("capture and sink ended early")
			}
			fail(err)
			stopLoad()
		case <-working.Done():
		}
	}()
	// From here on every committed row is a record, most of them beside the
	// snapshot that is being read.
	err := d.awaitSnapshot(busy, watch)
	if err == nil {
		d.began = true
		ctx, cancel := context.WithTimeout(busy, d.cmd.Duration)
		defer cancel()
		err = screen.during(func() error { return load.run(ctx) })
	}
	if cause := context.Cause(working); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, err
	}
	if a.ctx.Err() != nil {
		fmt.Fprintln(d.out, "Stopping the load; Ctrl-C again stops at once.")
	}
	late := screen.during(func() error { return d.settle(working, watch, load) })
	if cause := context.Cause(working); cause != nil {
		return nil, cause
	}
	screen.line()
	result := &demoResult{}
	found, err := compareShops(working, d.shop, d.sourceURL, d.targetURL)
	if err != nil {
		return nil, err
	}
	result.fill(load, watch, d.adm.registry, found)
	d.verdict(result, found)
	if late != nil {
		if result.Missing+result.Different+result.Extra == 0 {
			return nil, late
		}
		fmt.Fprintln(d.out, late)
	}
	if d.cmd.Keep && a.ctx.Err() == nil {
		fmt.Fprintln(d.out, "Everything goes on running until Ctrl-C: change the shop and watch.")
		select {
		case <-a.ctx.Done():
		case <-working.Done():
			return nil, context.Cause(working)
		}
	}
	return result, nil
}

// awaitSnapshot waits until a row of the snapshot has come: what is committed
// from then on is in the log after it.
func (d *demo) awaitSnapshot(ctx context.Context, w *watch) error {
	select {
	case <-w.first:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startServers finds the programs and starts what holds the two databases.
func (d *demo) startServers(ctx context.Context) error {
	if d.cmd.Source == "postgres" {
		return d.startPostgres(ctx)
	}
	mariadb := d.cmd.Source == "mariadb"
	d.shop = mysqlShop(mariadb)
	program, err := embedded.FindMySQL(ctx, mariadb)
	if err != nil {
		return fmt.Errorf("%w; or run `cdc demo` without --source: it takes PostgreSQL, and fetches it", err)
	}
	name := map[bool]string{false: "MySQL", true: "MariaDB"}[mariadb]
	fmt.Fprintf(d.out, "Starting a %s %s server, a broker and a schema registry in %s\n", name, program.Version, d.dir)
	server, err := embedded.StartMySQL(ctx, embedded.MySQLConfig{Program: program, Dir: filepath.Join(d.dir, d.cmd.Source), Logger: d.log})
	if err != nil {
		return err
	}
	d.stop = append(d.stop, func(keep bool) error {
		if keep {
			return server.Stop(context.Background())
		}
		server.Discard()
		return nil
	})
	d.sourceURL, d.targetURL = server.URL(demoSource), server.URL(demoTarget)
	for _, database := range []string{demoSource, demoTarget} {
		if err := d.shop.execute1(ctx, server.URL(""), "CREATE DATABASE "+database+" CHARACTER SET utf8mb4"); err != nil {
			return err
		}
	}
	return nil
}

// startPostgres starts two servers side by side.
func (d *demo) startPostgres(ctx context.Context) error {
	d.shop = &postgresShop
	fetching := slog.New(slog.NewTextHandler(d.out, nil))
	programs, err := embedded.FindPostgres(ctx, embedded.FetchConfig{Logger: fetching})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "Starting two PostgreSQL %s servers, a broker and a schema registry in %s\n", programs.Version, d.dir)
	var servers [2]*embedded.Postgres
	var g errgroup.Group
	for i, name := range []string{demoSource, demoTarget} {
		g.Go(func() (err error) {
			if servers[i], err = embedded.StartPostgres(ctx, embedded.PostgresConfig{Programs: programs, Dir: filepath.Join(d.dir, name), Logger: d.log}); err != nil {
				return err
			}
			return d.shop.execute1(ctx, servers[i].URL("postgres"), "CREATE DATABASE "+name)
		})
	}
	err = g.Wait()
	for _, server := range servers {
		if server != nil {
			d.stop = append(d.stop, func(keep bool) error {
				if keep {
					return server.Stop(context.Background())
				}
				server.Discard()
				return nil
			})
		}
	}
	if err != nil {
		return err
	}
	d.sourceURL, d.targetURL = servers[0].URL(demoSource), servers[1].URL(demoTarget)
	return nil
}

// stopServers writes the data out only where somebody is to see them.
func (d *demo) stopServers() {
	var g errgroup.Group
	for _, stop := range d.stop {
		g.Go(func() error { return stop(d.cmd.Keep) })
	}
	if err := g.Wait(); err != nil {
		fmt.Fprintln(d.out, err)
	}
}

// configure writes the configuration as a user would, and reads it.
func (d *demo) configure() error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by cdc demo.\nname: demo\nsource:\n  %s:\n    url: %s\ntables:\n", d.cmd.Source, d.sourceURL)
	for _, t := range demoTables {
		fmt.Fprintf(&b, "  - table: %s\n", d.shop.topic(t))
	}
	fmt.Fprintf(&b, "kafka: embedded\nregistry: embedded\nsinks:\n  - name: %s\n    group: %s\n    %s:\n      url: %s\n    topics:\n",
		demoSink, demoGroup, d.cmd.Source, d.targetURL)
	for _, topic := range d.shop.topics() {
		fmt.Fprintf(&b, "      - %s\n", topic)
	}
	fmt.Fprintf(&b, "admin:\n  listen: \"off\"\ndata_dir: %s\n", d.dir)
	path := d.configPath()
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	var err error
	d.conf, err = config.Load(path)
	return err
}

func (d *demo) configPath() string { return filepath.Join(d.dir, "cdc.yml") }

// explain prints how to look inside.
func (d *demo) explain() {
	self := os.Args[0]
	if strings.Contains(self, "go-build") {
		self = "go run ./cmd/cdc"
	}
	fmt.Fprintf(d.out, "Look inside, in another terminal:\n"+
		"  %s\n"+
		"  %s\n"+
		"  %s tail %s --from end --follow --brokers %s --registry %s\n"+
		"  curl http://%s/metrics\n"+
		"  less %s\n",
		d.shop.client(d.sourceURL), d.shop.client(d.targetURL), self, d.shop.topic("orders"), strings.Join(d.conf.Kafka.Brokers, ","), d.conf.Registry.URL,
		d.adm.listener.Addr(), d.logFile.Name())
}
