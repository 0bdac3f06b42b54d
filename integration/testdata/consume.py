"""A consumer that shares nothing with cdc: librdkafka reads the topic, fastavro
decodes by the registry's schema. Prints one JSON object a record.

usage: consume.py BROKERS REGISTRY TOPIC COUNT
"""
import datetime
import decimal
import io
import json
import struct
import sys
import urllib.request
import uuid

import confluent_kafka
import fastavro

brokers, registry, topic, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
schemas = {}


def schema(number):
    if number not in schemas:
        with urllib.request.urlopen(f"{registry}/schemas/ids/{number}") as answer:
            schemas[number] = fastavro.parse_schema(json.loads(json.load(answer)["schema"]))
    return schemas[number]


def decode(wire):
    if wire is None:
        return None
    magic, number = struct.unpack(">bI", wire[:5])
    assert magic == 0, wire
    body = io.BytesIO(wire[5:])
    value = fastavro.schemaless_reader(body, schema(number))
    assert body.read() == b"", "bytes left over"
    return value


def plain(v):
    """The text that PostgreSQL is asked for too."""
    if v is None or isinstance(v, (bool, int, str)):
        return v
    if isinstance(v, float):
        return repr(v).removesuffix(".0")
    if isinstance(v, (bytes, bytearray)):
        return v.hex()
    if isinstance(v, decimal.Decimal):
        return format(v, "f")
    if isinstance(v, datetime.datetime):
        if v.tzinfo:
            v = v.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return v.isoformat(timespec="microseconds")
    if isinstance(v, datetime.time):
        return v.isoformat(timespec="microseconds")
    if isinstance(v, (datetime.date, uuid.UUID)):
        return str(v)
    if isinstance(v, list):
        return [plain(x) for x in v]
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    raise TypeError(type(v))


consumer = confluent_kafka.Consumer({
    "bootstrap.servers": brokers, "group.id": f"foreign-{uuid.uuid4()}", "auto.offset.reset": "earliest", "enable.auto.commit": False,
})
consumer.subscribe([topic])
while count > 0:
    record = consumer.poll(30)
    assert record is not None, f"no record within 30 s, {count} to come"
    assert record.error() is None, record.error()
    headers = {k: v.decode() for k, v in record.headers() or []}
    print(json.dumps({"key": plain(decode(record.key())), "value": plain(decode(record.value())), "op": headers["cdc.op"]}))
    count -= 1
consumer.close()
