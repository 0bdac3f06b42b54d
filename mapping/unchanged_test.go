package mapping_test

import (
	"strings"
	"testing"

	"cdc/mapping"
	"cdc/replication"
)

// TestUnchangedPolicies has one column NOT NULL, one nullable and one left out
// of the records, all without a value.
func TestUnchangedPolicies(t *testing.T) {
	table := orders()
	table.Columns[1].NotNull = true
	table.Columns = append(table.Columns, text("secret"))
	change := update(table, 0, nil, row(num(1), replication.Unchanged, replication.Unchanged, replication.Unchanged))
	config := func(policy string) mapping.Config {
		return mapping.Config{Tables: []mapping.TableConfig{
			{Schema: "public", Name: "orders", Exclude: []string{"secret"}, Unchanged: policy},
		}}
	}
	marked := headers("update", "0/1A0:0", "7", mapping.HeaderUnchanged, "note,region")
	check(t, mapRows(t, config(""), change), []seen{{
		Topic: "public.orders", Key: fields{"id": int64(1)}, Value: fields{"id": int64(1), "note": "", "region": nil}, Headers: marked,
	}})
	check(t, mapRows(t, config(mapping.UnchangedOmit), change), []seen{{
		Topic: "public.orders", Key: fields{"id": int64(1)},
		Value: fields{"id": int64(1), "note": nil, "region": nil, "cdc_omitted": []any{"note", "region"}}, Headers: marked,
	}})
	err := mapError(t, config(mapping.UnchangedFail), change)
	if !strings.Contains(err.Error(), `key id=1`) || !strings.Contains(err.Error(), `column note`) ||
		!strings.Contains(err.Error(), `ALTER TABLE "public"."orders" REPLICA IDENTITY FULL`) {
		t.Errorf("got %v", err)
	}
	// What is not published may miss, and a delete has the key alone.
	hidden := update(table, 0, nil, row(num(1), str("a"), str("b"), replication.Unchanged))
	gone := remove(table, 1, num(1), replication.Unchanged, replication.Unchanged, replication.Unchanged)
	if got := mapRows(t, config(mapping.UnchangedFail), hidden, gone); len(got) != 2 {
		t.Errorf("%d records, want 2", len(got))
	}
}

// TestExcludedColumnIsFollowedByIdentity: renamed and retyped, while a column
// before it was dropped.
func TestExcludedColumnIsFollowedByIdentity(t *testing.T) {
	before := numbered(orders(), "9.1", "9.2", "9.3")
	after := numbered(orders(), "9.1", "9.2", "9.3")
	after.Columns = append(after.Columns[:1:1], after.Columns[2])
	after.Columns[1].Name, after.Columns[1].TypeName = "area", "character varying(9)"
	got := mapRows(t, mapping.Config{Tables: []mapping.TableConfig{{Schema: "public", Name: "orders", Exclude: []string{"region"}}}},
		insert(before, 0, num(1), str("a"), str("secret")), insert(after, 1, num(2), str("secret")))
	equalFields(t, got[1].Value, fields{"id": int64(2)})
}
