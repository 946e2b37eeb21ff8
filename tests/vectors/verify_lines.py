#!/usr/bin/env python3
"""Says of each line of the standard input, a link as JSON, what the second implementation finds: its outcome, a tab,
and the canonical query that its signature must be of, if it can be read."""

import json
import sys

import make_links

for line in sys.stdin:
    link = json.loads(line)
    path, query = link["path"], link["query"]
    outcome, _ = make_links.verify(path, query, link["now"], link["client"])
    canonical = "" if outcome == "malformed-link" else make_links.canonical(make_links.parse(query))
    print(f"{outcome}\t{canonical}")
