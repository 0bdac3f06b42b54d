package debezium

import "testing"

// The names are those in Debezium's SchemaFactory and PostgresSchemaFactory.
func TestNoRow(t *testing.T) {
	for name, want := range map[string]bool{
		"io.debezium.connector.common.TransactionMetadataValue": true,
		"io.debezium.connector.postgresql.MessageValue":         true,
		"shop.public.orders.Envelope":                           false,
		"io.debezium.connector.postgresql.Source":               false,
		"shop.MessageValue":                                     false,
	} {
		if got := NoRow(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
