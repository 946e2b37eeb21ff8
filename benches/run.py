#!/usr/bin/env python3
"""Measures Rowlink over HTTP against its peers, each in the same run. Exits with 1 where a target is
missed. `make bench` builds what it needs first; `benches/run.py postgres` measures one source."""

import os
import sys

import postgres
import sqlite
from common import missed

SOURCES = {"sqlite": sqlite.main, "postgres": postgres.main}


def main():
    os.environ.pop("http_proxy", None)
    for name in sys.argv[1:] or SOURCES:
        SOURCES[name]()
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
