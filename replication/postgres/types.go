package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cdc/replication"
)

// typeInfo is one row of pg_type, as far as it matters.
type typeInfo struct {
	Base    uint32 // of a domain, else 0
	BaseMod int32  // the domain's own modifier of its base, or -1
	Elem    uint32 // of a true array, else 0
	Commas  bool   // stand between the elements
	Dims    int32  // of a domain over an array: the dimensions it is declared with
	Labels  string // of an enum, separated by commas
}

type typeMod struct {
	OID uint32
	Mod int32
}

// OIDs of built-in types, from PostgreSQL's pg_type.dat: they never change.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidJSON        = 114
	oidFloat4      = 700
	oidFloat8      = 701
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestampTZ = 1184
	oidNumeric     = 1700
	oidUUID        = 2950
	oidJSONB       = 3802
)

// maxTypeDepth bounds domains over domains over arrays.
const maxTypeDepth = 32

// column says how values of the type travel; Name, NotNull and Identity are the
// caller's. A type without a kind of its own (an enum, an interval, a range, a
// composite) is a KindString of the server's text. So is an array declared with
// dims dimensions, if that is more than one: PostgreSQL does not hold values to
// the declaration, but it tells what to expect.
func (c *catalog) column(ctx context.Context, typeOID uint32, typmod, dims int32) (replication.Column, error) {
	var col replication.Column
	name, err := c.typeName(ctx, typeOID, typmod)
	if err != nil {
		return col, err
	}
	base, mod, t, err := c.base(ctx, typeOID, typmod)
	if err != nil {
		return col, err
	}
	baseType := ""
	if base != typeOID {
		if baseType, err = c.typeName(ctx, base, mod); err != nil {
			return col, err
		}
	}
	if t.Elem != 0 {
		elem, elemMod, et, err := c.base(ctx, t.Elem, mod)
		if err != nil {
			return col, err
		}
		isDomain := elem != t.Elem || base != typeOID
		if baseType = ""; isDomain {
			if baseType, err = c.typeName(ctx, elem, elemMod); err != nil {
				return col, err
			}
		}
		// An array of a domain over an array, of several dimensions, or with another
		// delimiter than most.
		if et.Elem != 0 || max(dims, t.Dims) > 1 || !t.Commas {
			if col.Kind, col.AsText = replication.KindString, true; isDomain {
				baseType += "[]"
			}
		} else {
			col = scalar(elem, elemMod)
			col.Elem, col.Kind, col.Labels = col.Kind, replication.KindArray, et.Labels
		}
	} else {
		col = scalar(base, mod)
		col.Labels = t.Labels
	}
	col.TypeName, col.BaseType = name, baseType
	return col, nil
}

// base follows domains down to what they are domains over. Dims is the largest
// that one of them is declared with.
func (c *catalog) base(ctx context.Context, oid uint32, mod int32) (uint32, int32, typeInfo, error) {
	var dims int32
	for range maxTypeDepth {
		t, err := c.typ(ctx, oid)
		dims = max(dims, t.Dims)
		if t.Dims = dims; err != nil || t.Base == 0 {
			return oid, mod, t, err
		}
		oid, mod = t.Base, t.BaseMod
	}
	return 0, 0, typeInfo{}, fmt.Errorf("type %d is a domain nested deeper than %d", oid, maxTypeDepth)
}

// scalar maps a type that is no domain and no array.
func scalar(oid uint32, mod int32) replication.Column {
	switch oid {
	case oidBool:
		return replication.Column{Kind: replication.KindBool}
	case oidInt2:
		return replication.Column{Kind: replication.KindInt, Bits: 16}
	case oidInt4:
		return replication.Column{Kind: replication.KindInt, Bits: 32}
	case oidInt8:
		return replication.Column{Kind: replication.KindInt, Bits: 64}
	case oidFloat4:
		return replication.Column{Kind: replication.KindFloat, Bits: 32}
	case oidFloat8:
		return replication.Column{Kind: replication.KindFloat, Bits: 64}
	case oidNumeric:
		p, s := numericMod(mod)
		return replication.Column{Kind: replication.KindDecimal, Precision: p, Scale: s}
	case oidBytea:
		return replication.Column{Kind: replication.KindBytes}
	case oidDate:
		return replication.Column{Kind: replication.KindDate}
	case oidTime:
		return replication.Column{Kind: replication.KindTime}
	case oidTimestamp:
		return replication.Column{Kind: replication.KindTimestamp}
	case oidTimestampTZ:
		return replication.Column{Kind: replication.KindTimestampTZ}
	case oidUUID:
		return replication.Column{Kind: replication.KindUUID}
	case oidJSON, oidJSONB:
		return replication.Column{Kind: replication.KindJSON}
	}
	return replication.Column{Kind: replication.KindString}
}

// numericMod unpacks the modifier of numeric(p,s) as numeric.c does: the scale
// is an 11-bit signed number.
func numericMod(mod int32) (precision, scale int) {
	if mod < 4 {
		return 0, 0
	}
	mod -= 4
	return int(mod >> 16 & 0xffff), int((mod&0x7ff)^1024) - 1024
}

// typ looks a type up by its OID.
func (c *catalog) typ(ctx context.Context, oid uint32) (typeInfo, error) {
	if t, ok := c.types[oid]; ok {
		return t, nil
	}
	var t typeInfo
	// A true array is the type that its element names as its array type; the
	// fixed vectors, name and point have elements too, and another text. Between
	// boxes stand semicolons, between PostGIS's geometries colons.
	err := c.s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `
SELECT t.typbasetype, t.typtypmod,
       coalesce((SELECT e.oid FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid), 0), t.typdelim = ',', t.typndims,
       coalesce((SELECT string_agg(l.enumlabel, ',' ORDER BY l.enumsortorder) FROM pg_catalog.pg_enum l WHERE l.enumtypid = t.oid), '')
  FROM pg_catalog.pg_type t WHERE t.oid = $1::oid`, oid).Scan(&t.Base, &t.BaseMod, &t.Elem, &t.Commas, &t.Dims, &t.Labels)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		// Dropped since: its values still come as text.
		return typeInfo{}, nil
	}
	if err != nil {
		return t, fmt.Errorf("look up type %d: %w", oid, err)
	}
	c.types[oid] = t
	return t, nil
}

// typeName returns the type's name with its modifiers, as the server prints it.
func (c *catalog) typeName(ctx context.Context, oid uint32, mod int32) (string, error) {
	k := typeMod{oid, mod}
	if name, ok := c.names[k]; ok {
		return name, nil
	}
	var name string
	err := c.s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT pg_catalog.format_type($1::oid, $2::int4)`, oid, mod).Scan(&name)
	})
	if err != nil {
		return "", fmt.Errorf("look up name of type %d: %w", oid, err)
	}
	if name != "???" { // the name of a type that is gone
		c.names[k] = name
	}
	return name, nil
}
