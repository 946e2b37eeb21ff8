#!/usr/bin/env python3
"""Compares an export of flights with its source, parsed by Python's csv module. Prints the number of equal rows.

NULL is NA in the source and empty in the export.

    compare_flights.py SOURCE.csv EXPORT.csv '{"carrier": "UA", "month": 2}'
"""

import csv
import itertools
import json
import sys

source, export, filters = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with open(source, newline="") as source, open(export, newline="", encoding="utf-8") as export:
    expected, found = csv.reader(source), csv.reader(export)
    header = next(expected)
    assert next(found) == header, "the header differs"
    conditions = {header.index(name): str(value) for name, value in filters.items()}
    matching = (
        ["" if field == "NA" else field for field in row]
        for row in expected
        if all(row[i] == value for i, value in conditions.items())
    )
    count = 0
    for left, right in itertools.zip_longest(matching, found):
        assert left == right, f"row {count + 1}: {left} became {right}"
        count += 1
print(count)
