package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// mysqlShop is the shop on MySQL, or on MariaDB.
func mysqlShop(mariadb bool) *dialect {
	d := &dialect{
		schema: demoSource, // a database is a schema here
		open:   openMySQL,
		client: func(address string) string { return mysqlClient(mariadb, address) },
		tables: mysqlTables,
		shopStatements: shopStatements{
			insertOrder: `INSERT INTO orders (id, customer_id, status, total, placed_at, sent_at, wanted_at, note)
	      VALUES (?, ?, 'new', ?, now(6), ?, ?, ?)`,
			insertLine:    `INSERT INTO order_lines (order_id, line, sku, quantity, price, discount) VALUES (?, ?, ?, ?, ?, ?)`,
			takeFromStock: `UPDATE products SET stock = stock - 1, changed_at = now(6) WHERE sku = ?`,
			charge:        `UPDATE customers SET balance = balance - ?, changed_at = now(6) WHERE id = ?`,
			advanceOrder: `UPDATE orders SET sent_at = CASE WHEN status = 'packed' THEN now(3) END, note = nullif(note, 'left of the door'),
	      status = CASE status WHEN 'new' THEN 'paid' WHEN 'paid' THEN 'packed' ELSE 'sent' END WHERE id = ?`,
			changeCustomer: `UPDATE customers SET name = left(concat(name, coalesce(?, '')), 200), tags = coalesce(?, ''),
	      address = ?, born = ?, changed_at = now(6) WHERE id = ?`,
			newCustomer:   `INSERT INTO customers (email, name, balance) VALUES (?, ?, -9999999999.99)`,
			deleteLines:   `DELETE FROM order_lines WHERE order_id = ?`,
			deleteOrder:   `DELETE FROM orders WHERE id = ?`,
			describe:      `UPDATE products SET notes = ?, picture = ?, flags = (flags + 1) & 4095 WHERE sku = ?`,
			renameProduct: `UPDATE products SET sku = ? WHERE sku = ?`,
			renumberLine:  `UPDATE order_lines SET line = line + 100 WHERE order_id = ? AND line = 1`,
			raisePrices:   `UPDATE products SET price = round(price * 1.01, 2), attributes = json_set(attributes, '$.sale', true)`,
			changeVIPs:    `UPDATE customers SET vip = NOT vip, balance = balance + 0.01 WHERE id % 3 = ?`,

			sent:      []string{"", "", "9999-12-31 23:59:59.999", "2026-12-24 18:00:00.5"},
			wanted:    []string{"", "-838:59:59", "24:00:00", "07:15:00.000001"},
			discounts: []string{"", "0.1", "-3.402823466e38", "-0"},
			tags:      []string{"", "new", "loyal,press", "new,loyal,wholesale,press"},
			addresses: []string{"", `{"city":"Łódź","big":1.2345678901234567,"nested":{"a":[1,null,"x"]}}`},
			born:      []string{"", "0001-01-01", "2000-02-29", "9999-12-31"},
		},
		deadlock: func(err error) bool {
			e, ok := errors.AsType[*mysql.MySQLError](err)
			return ok && (e.Number == 1213 || e.Number == 1205) // ER_LOCK_DEADLOCK, ER_LOCK_WAIT_TIMEOUT
		},
		columns: "SELECT COLUMN_NAME, COLUMN_KEY = 'PRI', CONCAT('`', COLUMN_NAME, '`', CASE DATA_TYPE WHEN 'float' THEN ' + 0e0' WHEN 'bit' THEN ' + 0' ELSE '' END)" +
			" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY COLUMN_KEY = 'PRI' DESC, ORDINAL_POSITION",
		order: func(expression string) string { return "CAST(" + expression + " AS BINARY)" },
		marks: []string{
			`UPDATE customers SET changed_at = now(6) ORDER BY id LIMIT 1`,
			`UPDATE products SET changed_at = now(6) ORDER BY sku LIMIT 1`,
			`UPDATE orders SET placed_at = now(6) ORDER BY id LIMIT 1`,
			`UPDATE order_lines SET quantity = quantity + 1 ORDER BY order_id, line LIMIT 1`,
		},
	}
	for _, sql := range mysqlRows {
		d.rows = append(d.rows, strings.ReplaceAll(sql, "{numbers}", mysqlNumbers))
	}
	if mariadb {
		d.markAfter = `SELECT @@last_gtid`
	} else {
		// MySQL does not tell the GTID of a transaction, so it is given one.
		b := make([]byte, 16)
		rand.Read(b)
		d.markBegin = fmt.Sprintf("SET gtid_next = '%x-%x-%x-%x-%x:1'", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
		d.markInside = `SELECT @@gtid_next`
	}
	return d
}

func mysqlClient(mariadb bool, address string) string {
	client := "mysql"
	if mariadb {
		client = "mariadb"
	}
	u, err := url.Parse(address)
	if err != nil {
		return client
	}
	password, _ := u.User.Password()
	return fmt.Sprintf("%s --host=%s --port=%s --user=%s --password=%s %s", client, u.Hostname(), u.Port(), u.User.Username(), password, strings.TrimPrefix(u.Path, "/"))
}

// mysqlTables make the shop as such a database has it: unsigned, enum, set, bit,
// times below zero, JSON, texts and pictures of some size.
var mysqlTables = []string{
	`CREATE TABLE customers (
  id         bigint unsigned AUTO_INCREMENT PRIMARY KEY,
  email      varchar(120) NOT NULL,
  name       varchar(200) NOT NULL,
  born       date,
  vip        boolean NOT NULL DEFAULT false,
  tags       set('new', 'loyal', 'wholesale', 'press') NOT NULL DEFAULT '',
  address    json,
  balance    decimal(12,2) NOT NULL DEFAULT 0,
  changed_at timestamp(6) NOT NULL DEFAULT now(6)
) CHARACTER SET utf8mb4`,
	`CREATE TABLE products (
  sku        varchar(40) PRIMARY KEY,
  name       text NOT NULL,
  price      decimal(12,2) NOT NULL,
  weight     double,
  stock      int NOT NULL,
  notes      mediumtext,
  picture    mediumblob,
  attributes json NOT NULL,
  flags      bit(12) NOT NULL,
  changed_at datetime(6) NOT NULL DEFAULT now(6)
) CHARACTER SET utf8mb4`,
	`CREATE TABLE orders (
  id          char(36) PRIMARY KEY,
  customer_id bigint unsigned NOT NULL,
  status      enum('new', 'paid', 'packed', 'sent', 'cancelled') NOT NULL,
  total       decimal(12,2) NOT NULL,
  placed_at   timestamp(6) NOT NULL DEFAULT now(6),
  sent_at     datetime(3),
  wanted_at   time(6),
  note        text
) CHARACTER SET utf8mb4`,
	`CREATE TABLE order_lines (
  order_id char(36),
  line     smallint unsigned,
  sku      varchar(40) NOT NULL,
  quantity mediumint NOT NULL,
  price    decimal(12,2) NOT NULL,
  discount float,
  PRIMARY KEY (order_id, line)
) CHARACTER SET utf8mb4`,
}

// mysqlNumbers is a table of i from 0 to 9,999.
var mysqlNumbers = strings.ReplaceAll("(SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS i FROM {d} a, {d} b, {d} c, {d} e) numbers", "{d}",
	"(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)")

const mysqlOrderID = `insert(insert(insert(insert(left(sha2(concat('order', %s), 256), 32), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-')`

// mysqlRows are as many as shopRows.
var mysqlRows = []string{
	`INSERT INTO customers (email, name, born, vip, tags, address, balance)
	 SELECT concat('customer', i, '@example.org'), concat(elt(1 + i % 5, 'Zoë', 'Łukasz', 'Ana', 'Jürgen', '王芳'), ' ', i),
	   CASE WHEN i % 7 > 0 THEN date_add('1950-01-01', INTERVAL i * 13 % 20000 DAY) END, i % 11 = 0, elt(1 + i % 3, '', 'new', 'loyal,press'),
	   CASE WHEN i % 5 > 0 THEN json_object('city', concat('City ', i % 90), 'zip', lpad(i % 99999, 5, '0'), 'geo', json_array(i / 7.0e0, -i)) END,
	   round((i * 37 % 100000) / 100.0 - 200, 2)
	 FROM {numbers} WHERE i BETWEEN 1 AND {n} ORDER BY i`,
	`INSERT INTO products (sku, name, price, weight, stock, notes, picture, attributes, flags)
	 SELECT concat('SKU-', lpad(i, 5, '0')), concat('Product ', i), round((i * 91 % 50000) / 100.0, 2), CASE WHEN i % 4 > 0 THEN i / 3.0e0 END, 1000,
	   CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN 'short' ELSE repeat(sha2(i, 256), 40 + i % 50) END,
	   CASE WHEN i % 2 = 0 THEN unhex(concat(sha2(i, 256), '00ff')) END, json_object('color', i % 9, 'n', 1.5e0), i % 4096
	 FROM {numbers} WHERE i BETWEEN 1 AND greatest(10, {n} * 3 DIV 10)`,
	`INSERT INTO orders (id, customer_id, status, total, placed_at, sent_at, wanted_at, note)
	 SELECT ` + fmt.Sprintf(mysqlOrderID, "i") + `, 1 + i % {n}, elt(1 + i % 4, 'new', 'paid', 'packed', 'sent'), round(i % 900 * 1.13, 2),
	   date_add('2026-01-01 00:00:00.000001', INTERVAL i * 667123456 MICROSECOND),
	   CASE WHEN i % 4 = 3 THEN date_add('2026-06-01 12:00', INTERVAL i SECOND) END, CASE WHEN i % 3 = 0 THEN '08:30' END,
	   CASE WHEN i % 6 = 0 THEN concat('ring twice\nthen wait – ', i) END
	 FROM {numbers} WHERE i BETWEEN 1 AND {n} * 3 DIV 2`,
	`INSERT INTO order_lines (order_id, line, sku, quantity, price, discount)
	 SELECT ` + fmt.Sprintf(mysqlOrderID, "1 + i DIV 2") + `, 1 + i % 2, concat('SKU-', lpad(1 + i % 10, 5, '0')), 1 + i % 5, round(i % 700 * 0.77, 2),
	   CASE WHEN i % 4 = 0 THEN 0.1 * (i % 5) END
	 FROM {numbers} WHERE i < {n} * 3 DIV 2 * 2`,
}
