"""Rowlink's workbooks and archives of five queries, against one query and against sqlite3 with zip."""

import statistics
import tempfile

from common import (ROOT, Server, alternate, curl, first_byte_milliseconds, missed, peak_above_idle_mib, report,
                    report_memory, timed)
from sqlite import COLUMNS, make_table

SHEETS = 5
ROWS_PER_SHEET = 200_000
ONE_SHEET_RATIO_MAX = 1.15
ZIP_RATIO_MAX = 0.6
FIRST_BYTE_MILLISECONDS_MAX = 10
MEMORY_MIB_MAX = 16
RUNS = 5


def part(sheet):
    """Returns the query of a sheet, from 0."""
    first = sheet * ROWS_PER_SHEET
    return f"select {COLUMNS} from bench where id > {first} and id <= {first + ROWS_PER_SHEET}"


def by_sqlite3_and_zip(database, folder):
    """Returns the command that writes the same files, then an archive with them."""
    files = [f"{folder}/{sheet}.csv" for sheet in range(SHEETS)]
    queries = [f"sqlite3 -csv -header 'file:{database}?mode=ro' '{part(sheet)}' > {file}"
               for sheet, file in enumerate(files)]
    archive = f"{folder}/peer.zip"
    return ["bash", "-ec", "\n".join([*queries, f"rm -f {archive}", f"zip -q -1 {archive} {' '.join(files)}"])]


def main():
    database = make_table(1_000_000)
    exports = {"bench": f"select {COLUMNS} from bench where :user = 'bench'", "year/book.toml": "title = 'Year'"}
    exports |= {f"year/{sheet}_part{sheet}.sql": f"{part(sheet)} and :user = 'bench'" for sheet in range(SHEETS)}
    print("SQLite → five sheets of 200,000 rows × 9", flush=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
        with Server(f"sqlite:{database}", exports, folder) as server:
            def download(export, format):
                return timed(curl(server.link(export, format), f"{folder}/rowlink.{format}"))

            book, sheet = alternate(lambda: download("year", "xlsx"), lambda: download("bench", "xlsx"), runs=RUNS)
            report("XLSX, against one sheet", book, sheet, "s", "≤", ONE_SHEET_RATIO_MAX)
            archive, peer = alternate(lambda: download("year", "zip"),
                                      lambda: timed(by_sqlite3_and_zip(database, folder)), runs=RUNS)
            report("ZIP of CSV, against sqlite3 + zip -1", archive, peer, "s", "≤", ZIP_RATIO_MAX)
            for format in ["xlsx", "zip"]:
                times, = alternate(lambda: first_byte_milliseconds(server.link("year", format)))
                middle = statistics.median(times)
                if middle > FIRST_BYTE_MILLISECONDS_MAX:
                    missed.append(f"first byte of a book as {format}")
                what = f"first byte after the request, {format}"
                print(f"  {what:34} {middle:9.1f} ms   (must be ≤ {FIRST_BYTE_MILLISECONDS_MAX})", flush=True)
    for format in ["xlsx", "zip"]:
        peak = peak_above_idle_mib(f"sqlite:{database}", exports, "year", format=format)
        report_memory(f"peak above idle, {format}", peak, MEMORY_MIB_MAX)
