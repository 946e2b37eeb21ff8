"""How time and memory grow with the rows, the formats, the databases, the downloads at the same time, the exports in the
catalog and the revocations. Prints the tables of docs/scaling.md; there are no limits and no peers."""

import contextlib
import pathlib
import statistics
import subprocess
import tempfile
import time

import mysql
import postgres
import sqlite
from common import Server, curl, first_byte_milliseconds, timed

FORMATS = ["csv", "tsv", "ndjson", "json", "xlsx", "parquet"]
ROWS = [10_000, 100_000, 1_000_000, 10_000_000]
DOWNLOADS, ROWS_OF_EACH = [1, 8, 64, 256], 100_000
EXPORTS, REVOCATIONS = 1000, [0, 1000, 100_000]
SETTINGS = f"/*---\nformats = {FORMATS}\n---*/\n"


def export(rows):
    return f"{SETTINGS}select {sqlite.COLUMNS} from bench where id <= {rows} and :user = 'bench'"


def measure(url, exports, link, downloads=1, runs=1, **variables):
    """Returns the wall time of some downloads at once, the processor time of each, and the memory above that of an idle
    server."""
    with tempfile.TemporaryDirectory() as folder, Server(url, exports, folder, **variables) as server:
        target = server.link(*link)
        subprocess.run(["curl", "-sI", target], stdout=subprocess.DEVNULL, check=True)
        idle = server.resident_mib("VmRSS")
        pathlib.Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
        start = server.processor_seconds()
        wall = statistics.median(timed(*[curl(target)] * downloads) for _ in range(runs))
        processor = (server.processor_seconds() - start) / runs / downloads
        return wall, processor, server.resident_mib("VmHWM") - idle


def growth_with_rows(name, url):
    print(f"\n| {name} | " + " | ".join(f"{rows:,} rows" for rows in ROWS) + " |\n|" + "---|" * (len(ROWS) + 1))
    for extension in FORMATS:
        cells = []
        for rows in ROWS:
            runs = 3 if rows <= 1_000_000 else 1
            wall, processor, mib = measure(url, {"bench": export(rows)}, ["bench", extension], runs=runs)
            cells.append(f"{wall:.2f} s, {processor:.2f} s, {mib:.0f} MiB")
        print(f"| {extension} | " + " | ".join(cells) + " |", flush=True)


def growth_with_downloads(name, url):
    print(f"\n| downloads of {ROWS_OF_EACH:,} rows at the same time, {name} | all | processor time of each | memory of each |")
    print("|---|---|---|---|")
    for downloads in DOWNLOADS:
        connections = str(max(downloads, 2))
        wall, processor, mib = measure(url, {"bench": export(ROWS_OF_EACH)}, ["bench", "csv"], downloads,
                                       ROWLINK_DATABASE_CONNECTIONS=connections, ROWLINK_MAX_DOWNLOADS="1000")
        print(f"| {downloads} | {wall:.2f} s | {processor * 1000:.0f} ms | {mib / downloads:.1f} MiB |", flush=True)


def growth_with_exports(name, url):
    exports = {f"e{number}": export(number + 1) for number in range(EXPORTS)}
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            with Server(url, exports, folder):
                seconds.append(time.perf_counter() - start)
    print(f"start with {EXPORTS} exports, {name}: {statistics.median(seconds):.2f} s", flush=True)


def growth_with_revocations(url):
    for count in REVOCATIONS:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "revocations.toml")
            entries = (f"0198c2f4-6f3a-7cc1-9b2e-{number:012x} = 2030-01-01T00:00:00Z" for number in range(count))
            path.write_text("\n".join(["[links]", *entries, ""]))
            with Server(url, {"bench": export(1)}, folder, ROWLINK_REVOCATIONS_FILE=str(path)) as server:
                link = server.link("bench")
                milliseconds = statistics.median(first_byte_milliseconds(link) for _ in range(200))
        print(f"first byte of one row with {count:,} revocations: {milliseconds:.2f} ms", flush=True)


def main():
    with contextlib.ExitStack() as stack:
        postgres.SETTINGS += "max_connections = 300\n"
        url = stack.enter_context(postgres.cluster())
        table = postgres.TABLE.format(name="bench", rows=ROWS[-1])
        subprocess.run(["psql", "-q", url], input=table, text=True, check=True)
        subprocess.run(["psql", "-q", url, "-c", "vacuum analyze"], check=True)
        mysql_url, _, root = stack.enter_context(mysql.mariadb())
        subprocess.run([*root, "-e", mysql.TABLE.format(name="bench", rows=ROWS[-1])], check=True)
        databases = {"SQLite": f"sqlite:{sqlite.make_table(ROWS[-1])}", "PostgreSQL": url, "MariaDB": mysql_url}
        print("wall time, processor time of Rowlink, memory above idle")
        for name, database in databases.items():
            growth_with_rows(name, database)
        for name in ["SQLite", "PostgreSQL"]:
            growth_with_downloads(name, databases[name])
        for name, database in databases.items():
            growth_with_exports(name, database)
        growth_with_revocations(databases["SQLite"])
