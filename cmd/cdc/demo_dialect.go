package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // for database/sql
)

// dialect is one family of databases, as the demo wants it: the shop's tables and
// rows, and the statements of its business.
type dialect struct {
	schema string // of the shop's tables, as their topics name it
	open   func(url string) (*sql.DB, error)
	client func(url string) string // the command that looks inside

	tables []string // statements that make the shop
	rows   []string // and fill it; {n} is the number of customers
	shopStatements
	deadlock func(error) bool // the transaction lost against another one

	// settings are made before a table is compared. columns lists those of a
	// table: name, whether it is of the key, its text as an expression; order is
	// by the bytes of an expression.
	settings []string
	columns  string
	order    func(expression string) string

	// The last transaction changes a row of every table. markBegin comes before it;
	// markInside or markAfter asks for its name as the topics have it.
	marks                            []string
	markBegin, markInside, markAfter string
}

// shopStatements are what the workers do. The arguments are in the order of
// their places in the text.
type shopStatements struct {
	insertOrder    string // id, customer, total, sent, wanted, note
	insertLine     string // order, line, sku, quantity, price, discount
	takeFromStock  string // sku
	charge         string // total, customer
	advanceOrder   string // order
	changeCustomer string // more of the name, a tag, address, born, customer
	newCustomer    string // email, name
	deleteLines    string // order
	deleteOrder    string // order
	describe       string // notes, picture, sku
	renameProduct  string // new sku, sku
	renumberLine   string // order
	raisePrices    string
	changeVIPs     string // 0 to 2

	sent, wanted, discounts, tags, addresses, born []string // values; "" is NULL
}

func (d *dialect) topic(table string) string { return d.schema + "." + table }

func (d *dialect) topics() []string {
	topics := make([]string, len(demoTables))
	for i, t := range demoTables {
		topics[i] = d.topic(t)
	}
	return topics
}

// connect returns a connection of its own; closing it closes all.
func (d *dialect) connect(ctx context.Context, url string) (*shopConn, error) {
	db, err := d.open(url)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, err
	}
	return &shopConn{conn, db}, nil
}

// shopConn is one connection.
type shopConn struct {
	*sql.Conn
	db *sql.DB
}

func (c *shopConn) close() {
	c.Close()
	c.db.Close()
}

// makeShop makes and fills the tables and returns the number of rows: about
// 5,800, or a third of bound when that is less.
func (d *dialect) makeShop(ctx context.Context, url string, bound int64) (rows int64, err error) {
	customers := int64(1000)
	if bound > 0 {
		customers = min(customers, max(20, bound*10/58/3))
	}
	conn, err := d.connect(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("make shop: %w", err)
	}
	defer conn.close()
	for _, sql := range d.tables {
		if _, err := conn.ExecContext(ctx, sql); err != nil {
			return 0, fmt.Errorf("make shop: %w", err)
		}
	}
	for _, sql := range d.rows {
		result, err := conn.ExecContext(ctx, strings.ReplaceAll(sql, "{n}", fmt.Sprint(customers)))
		if err != nil {
			return 0, fmt.Errorf("fill shop: %w", err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, fmt.Errorf("fill shop: %w", err)
		}
		rows += n
	}
	return rows, nil
}

// execute1 runs one statement on a connection of its own.
func (d *dialect) execute1(ctx context.Context, url, sql string) error {
	conn, err := d.connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.close()
	if _, err := conn.ExecContext(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

func openPostgres(address string) (*sql.DB, error) { return sql.Open("pgx", address) }

// openMySQL opens a database of either family by the URL that the sources take.
func openMySQL(address string) (*sql.DB, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("parse URL: %w", err)
	}
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName = u.User.Username(), "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	c.Passwd, _ = u.User.Password()
	c.InterpolateParams, c.Logger = true, &mysql.NopLogger{} // errors are returned
	c.Params = map[string]string{"time_zone": "'+00:00'"}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
