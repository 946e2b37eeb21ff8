"""Prepares files with the Python client; prints what it has seen as JSON."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "clients/python/src"))

from rowlink import NotPrepared, Problem, Rowlink, download, prepare

origin, token, folder = sys.argv[1:4]
os.chdir(folder)
rowlink = Rowlink(origin, token)
states = []
link = rowlink.link("it", "csv", filters={"below": 50_000}, expires_in=600)
url = link.url.replace("https://shop.example.com/data", origin)
file = prepare(url, progress=states.append)
path = download(url, "it.csv")
seen = {"state": file.state, "rows": file.rows, "states": len(states), "equal": path.stat().st_size == file.bytes}
try:
    failing = rowlink.link("failing", "csv", delivery="stored").url.replace("https://shop.example.com/data", origin)
    prepare(failing)
except NotPrepared as error:
    seen["failed"] = [error.file.state, error.file.code]
try:
    unstored = rowlink.link("it", "csv", filters={"below": 1}, delivery="stream").url
    prepare(unstored.replace("https://shop.example.com/data", origin))
except Problem as problem:
    seen["unstored"] = [problem.status, list(problem.errors)]
print(json.dumps(seen))
