package config

import "testing"

func TestSmall(t *testing.T) {
	c, err := Parse("cdc.yml", []byte(`
name: shop
source: {postgres: {url: "postgres://cdc@db/shop", password: "a@b/c"}}
tables: [public.orders, {table: public.log, key: none, snapshot: never}]
kafka: {brokers: "a:9092,b:9092", tls: true}
registry: embedded
`), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
	_, err = Parse("cdc.yml", []byte(`
nam: shop
source: {postgres: {url: "postgres://cdc@db:${PORT}/shop"}}
tables: [public.orders, {table: orders, key: {field: a, plain: b}}]
kafka: {brokers: "a:9092,b:9092", linger: 5, tls: {cert: a}, compresion: zip, compression: zip}
`), func(string) (string, bool) { return "", false })
	t.Log("\n" + err.Error())
}
