"""Uses the Python client against a server; prints the results as JSON."""

import json
import os
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "clients/python/src"))

from rowlink import IncompleteDownload, Problem, Rowlink, Unreachable, download

origin, token, folder = sys.argv[1:4]
os.chdir(folder)
rowlink = Rowlink(origin, token)
seen = {}

so_far = []
link = rowlink.link("numbers", "csv", filters={"n": 300_000}, filename="numbers of März")
path = link.download(progress=so_far.append)
seen["whole"] = [path.name, path.stat().st_size, len(so_far) > 1, so_far[-1].bytes]

filters = {"from": date(2026, 1, 1), "limit": Decimal("3"), "status": ["paid"]}
link = rowlink.link("orders", "xlsx", filters=filters, expires_in=30)
seen["workbook"] = link.download("book.xlsx").read_bytes()[:2].decode()
seen["small"] = download(rowlink.link("orders", "csv", filters=filters).url, "small.csv").read_text()[:3]

try:
    rowlink.link("orders", "csv", filters={"from": "yesterday"})
except Problem as problem:
    seen["problem"] = [problem.status, problem.code, problem.errors, problem.request_id is not None]
try:
    download(link.url.replace("rl_user=alice", "rl_user=bob"), "tampered.csv")
except Problem as problem:
    seen["tampered"] = [problem.status, problem.code]

for name, ask in {
    "nobody": lambda: Rowlink("http://127.0.0.1:1", token).exports(),
    "nowhere": lambda: download("http://127.0.0.1:1/v1/exports/a.csv?rl_signature=secret", "nothing.csv"),
}.items():
    try:
        ask()
    except Unreachable as error:
        seen[name] = ["127.0.0.1:1: " in str(error) and "secret" not in str(error), isinstance(error, ConnectionError)]

Path("kept.csv").write_text("what was there before")
proved = rowlink.link("numbers", "csv", filters={"n": 9}, end_line=True)
seen["proved"] = proved.download("proved.csv").read_text().splitlines()[-1]
lines = rowlink.link("numbers", "ndjson", filters={"n": 9}, end_line=True, ndjson={"large_numbers": "string"})
seen["lines"] = [json.loads(line)["n"] for line in lines.download("lines.ndjson").read_text().splitlines()]
rows = rowlink.link("numbers", "json", filters={"n": 9}).download("rows.json")
seen["rows"] = len(json.loads(rows.read_text()))
table = rowlink.link("numbers", "tsv", filters={"n": 9}, end_line=True, tsv={"header": False})
seen["table"] = len(table.download("table.tsv").read_text().splitlines())
confirmed = rowlink.link("numbers", "csv", filters={"n": 9}, confirm=True)
seen["confirmed"] = len(confirmed.download("confirmed.csv").read_text().splitlines())
measured = []
exact = rowlink.link("numbers", "csv", filters={"n": 5_000}, length="exact", estimate=True)
path = exact.download("exact.csv", progress=measured.append)
seen["exact"] = [measured[0].total == path.stat().st_size, exact.estimated_rows, exact.estimated_by]
broken = rowlink.link("numbers", "csv", filters={"n": 300_000, "fail_at": 250_000}).url
for name, url in {"broken": broken, "short": sys.argv[4], "unended": sys.argv[5], "unproved": sys.argv[6], "unclosed": sys.argv[7]}.items():
    try:
        download(url, "kept.csv")
        seen[name] = "whole"
    except IncompleteDownload as cut:
        seen[name] = str(cut).split()[0]
states = []
exact = rowlink.link("numbers", "xlsx", filters={"n": 60_000}, length="exact")
through_proxy = exact.url.replace(origin, sys.argv[8])
download(through_proxy, "continued.xlsx", progress=states.append)
exact.download("whole.xlsx")
seen["continued"] = Path("continued.xlsx").read_bytes() == Path("whole.xlsx").read_bytes()
seen["retries"] = sum(state.retries for state in states)
seen["kept"] = Path("kept.csv").read_text()
seen["exports"] = sorted(export["name"] for export in rowlink.exports())
seen["files"] = sorted(os.listdir("."))
seen["repr"] = token in repr(rowlink)
print(json.dumps(seen))
