#!/usr/bin/env python3
"""Verifies links with the second implementation, one JSON object per line of standard input.

Prints per line the outcome, a tab and the canonical query, which is empty for a malformed link."""

import json
import sys

import make_links

for line in sys.stdin:
    link = json.loads(line)
    path, query = link["path"], link["query"]
    outcome, _ = make_links.verify(path, query, link["now"], link["client"])
    canonical = "" if outcome == "malformed-link" else make_links.canonical(make_links.parse(query))
    print(f"{outcome}\t{canonical}")
