"""Checks a file with independent readers.

check_file.py FORMAT FILE EXPECTED    EXPECTED is a JSON array of rows, each an object of texts and nulls

Prints the column types of a Parquet file as a JSON array.
"""

import csv
import datetime
import decimal
import json
import re
import sys

import duckdb
import openpyxl
import pyarrow.parquet


def by_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        # The reader does not distinguish NULL (empty) from an empty text (quoted).
        return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]


def by_openpyxl(path):
    rows = openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)
    names = next(rows)
    return [dict(zip(names, row)) for row in rows]


def by_json(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line, parse_float=decimal.Decimal) for line in file]


def by_json_array(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file, parse_float=decimal.Decimal)


def by_unescaped_tsv(path):
    escapes = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}

    def unescape(field):
        return None if field == "\\N" else re.sub(r"\\(.)", lambda match: escapes[match[1]], field)

    with open(path, encoding="utf-8", newline="") as file:
        names, *rows = [[unescape(field) for field in line.split("\t")] for line in file.read().split("\n")[:-1]]
    return [dict(zip(names, row)) for row in rows]


def by_pyarrow(path):
    return pyarrow.parquet.read_table(path).to_pylist()


def by_duckdb(path):
    duckdb.sql("set TimeZone = 'UTC'")
    found = duckdb.sql(f"select * from '{path}'")
    return [dict(zip(found.columns, row)) for row in found.fetchall()]


def text(value):
    """Returns a value in the notation of the expected rows."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case bytes():
            return value.hex()
        case datetime.datetime() if value.tzinfo:
            return value.astimezone(datetime.timezone.utc).replace(tzinfo=None).isoformat() + "Z"
        case datetime.date() | datetime.time():
            return value.isoformat()
        case dict() | list():
            return json.dumps(value)
        case _:
            return str(value)


def number(value):
    try:
        return decimal.Decimal(value)
    except (decimal.InvalidOperation, TypeError):
        return None


def same(expected, found):
    found = text(found)
    if expected == found:
        return True
    if expected is None or found is None:
        return False
    if number(expected) is not None:
        return number(expected) == number(found)
    if expected[:1] in "{[":
        return json.loads(expected) == json.loads(found)
    # Trailing zeros of seconds vary. In workbooks dates have a time, and instants have no zone.
    return timestamp(expected) is not None and timestamp(expected) == timestamp(found)


def timestamp(value):
    try:
        return datetime.datetime.fromisoformat(value.removesuffix("Z"))
    except ValueError:
        return None


READERS = {
    "csv": [by_csv],
    "xlsx": [by_openpyxl],
    "ndjson": [by_json],
    "json": [by_json_array],
    "tsv": [by_unescaped_tsv],
    "parquet": [by_pyarrow, by_duckdb],
}

format, path, expected = sys.argv[1:4]
expected = json.loads(expected)
for reader in READERS[format]:
    rows = reader(path)
    assert len(rows) == len(expected), f"{reader.__name__}: {len(rows)} rows"
    for expected_row, row in zip(expected, rows):
        assert list(expected_row) == list(row), f"{reader.__name__}: {list(row)}"
        for name, value in expected_row.items():
            assert same(value, row[name]), f"{reader.__name__}: {name} is {row[name]!r}, expected {value!r}"
types = [str(field.type) for field in pyarrow.parquet.read_schema(path)] if format == "parquet" else []
print(json.dumps(types))
