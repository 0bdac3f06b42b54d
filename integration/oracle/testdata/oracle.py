"""Reads lines of {"schema", "hex"} and answers each with what fastavro makes of
the record's one field, as text, and with fastavro's own encoding of it."""
import datetime
import decimal
import io
import json
import sys
import uuid

import fastavro

decimal.getcontext().prec = 2000


def text(v):
    if v is None:
        return "null"
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, float):
        if v != v:
            return "NaN"
        if v in (float("inf"), float("-inf")):
            return "Infinity" if v > 0 else "-Infinity"
        return v.hex()
    if isinstance(v, decimal.Decimal):
        return format(v, "f")
    if isinstance(v, bytes):
        return "0x" + v.hex()
    if isinstance(v, datetime.datetime):
        return v.replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(v, datetime.time):
        return v.isoformat(timespec="microseconds")
    if isinstance(v, list):
        return "[" + ",".join(text(e) for e in v) + "]"
    if isinstance(v, (int, str, datetime.date, uuid.UUID)):
        return str(v)
    raise TypeError(type(v))


for line in sys.stdin:
    q = json.loads(line)
    schema = fastavro.parse_schema(json.loads(q["schema"]))
    body = io.BytesIO(bytes.fromhex(q["hex"]))
    try:
        record = fastavro.schemaless_reader(body, schema, None)
        rest = body.read()
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, record)
        answer = {"text": text(record["c"]), "rest": rest.hex(), "hex": out.getvalue().hex()}
    except Exception as e:
        answer = {"error": repr(e)}
    print(json.dumps(answer), flush=True)
