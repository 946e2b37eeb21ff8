#!/usr/bin/env python3
"""Measures Rowlink over HTTP against its peers in the same run. Exits with 1 if a limit is missed. `make bench`
builds the programs first; `benches/run.py xlsx` measures one part, and `benches/run.py growth` prints
tables of how time and memory grow."""

import os
import sys

import books
import codings
import formats
import growth
import mysql
import postgres
import replicas
import slow_readers
import sqlite
import store
import xlsx
from common import missed

PARTS = {"sqlite": sqlite.main, "postgres": postgres.main, "mysql": mysql.main, "xlsx": xlsx.main, "books": books.main,
         "formats": formats.main, "codings": codings.main, "replicas": replicas.main,
         "slow_readers": slow_readers.main, "store": store.main}
# Without limits: they run only if they are named.
TABLES = {"growth": growth.main}


def main():
    os.environ.pop("http_proxy", None)
    for name in sys.argv[1:] or PARTS:
        (PARTS | TABLES)[name]()
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
