"""Avro files as Empatica writes them, as far as they are read."""

from __future__ import annotations

import fastavro

START_US = 1_700_000_000_500_000


def record(name, *fields):
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


FLOATS, INTS = {"type": "array", "items": "float"}, {"type": "array", "items": "int"}
HEAD = (("timestampStart", "long"), ("samplingFrequency", "float"))
RANGE = record("ImuParams", *((n, "int") for n in ("physicalMin", "physicalMax", "digitalMin", "digitalMax")))
RAW = record(
    "RawData",
    ("accelerometer", record("Accelerometer", *HEAD, ("imuParams", RANGE), ("x", INTS), ("y", INTS), ("z", INTS))),
    ("eda", record("Eda", *HEAD, ("values", FLOATS))),
    ("temperature", record("Temperature", *HEAD, ("values", FLOATS))),
    ("bvp", record("Bvp", *HEAD, ("values", FLOATS))),
)
SCHEMA = record("Session", ("enrollment", record("Enrollment", ("participantID", "string"))), ("rawData", RAW))


def sensor(fs_hz, **values):
    return {"timestampStart": START_US, "samplingFrequency": fs_hz, **values}


def session(**changes):
    span = {"physicalMin": -16, "physicalMax": 16, "digitalMin": -32768, "digitalMax": 32768}
    axes = {"x": [2048] * 64, "y": [-1024] * 64, "z": [0] * 64}
    raw = {
        "accelerometer": sensor(64.0, imuParams=span, **axes),
        "eda": sensor(4.0, values=[0.5] * 8),
        "temperature": sensor(1.0, values=[33.25] * 2),
        "bvp": sensor(63.9996, values=[1.5] * 128),
    }
    return {"enrollment": {"participantID": "p-3"}, "rawData": {**raw, **changes}}


def write(path, *records, schema=SCHEMA):
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(schema), records)
    return path
