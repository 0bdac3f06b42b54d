package postgres

import (
	"fmt"

	"cdc/replication"
)

// Toast says what becomes of a large value that an update did not touch: the
// log leaves it out, unless the replica identity is FULL, whose old row has it.
type Toast string

// The policies. The empty one is ToastRefetch.
const (
	// ToastRefetch reads the row again, and lists what it read in
	// Change.Refetched. The value of a row that is gone, or whose table is
	// another one by now, stays Unchanged.
	ToastRefetch Toast = "refetch"
	// ToastOmit leaves the value Unchanged, unless the update changed the row's
	// key: no earlier record has the value under the new one, so that it is read
	// again as by ToastRefetch.
	ToastOmit Toast = "omit"
	// ToastFail leaves the value Unchanged in any case: whoever makes records
	// refuses such a row.
	ToastFail Toast = "fail"
)

// completeToast fills the default in.
func (t *TableConfig) completeToast() error {
	switch t.Toast {
	case "":
		t.Toast = ToastRefetch
	case ToastRefetch, ToastOmit, ToastFail:
	default:
		return &replication.Refusal{
			Problem: fmt.Sprintf("table %s: toast policy %q does not exist", t, t.Toast),
			Remedy:  "choose refetch, omit or fail",
		}
	}
	return nil
}

// toast returns the policy of the table of that name.
func (c *Config) toast(name replication.TableName) Toast {
	if t := c.table(name); t != nil {
		return t.Toast
	}
	return ToastRefetch
}

// table returns the configuration of the table of that name, or nil.
func (c *Config) table(name replication.TableName) *TableConfig {
	for i := range c.Tables {
		if t := &c.Tables[i]; t.Schema == name.Schema && t.Name == name.Name {
			return t
		}
	}
	return nil
}
