"""NDJSON and Parquet from PostgreSQL against psql with `row_to_json`; size, processor time and memory of Parquet."""

import pathlib
import subprocess
import tempfile

from common import (ROOT, Server, alternate, curl, missed, peak_above_idle_mib, report, report_memory,
                    timed)
from postgres import COLUMNS, TABLE, cluster

NDJSON_RATIO_MAX = 0.21
PARQUET_MIB_MAX = 22
# The description of each row group is kept until the end of the file.
PARQUET_GROWTH_MIB = 5
# Of the processor time of a whole download, query and HTTP included, of that in which a library only writes the file.
LIBRARIES = {"pyarrow": 2.5, "duckdb": 1.5}
SETTINGS = "/*---\nformats = ['ndjson', 'parquet']\n---*/\n"


def main():
    with cluster() as url, tempfile.TemporaryDirectory() as folder:
        for name, rows in [("bench", 1_000_000), ("bench5", 5_000_000)]:
            print(f"making {rows:,} rows in PostgreSQL …", flush=True)
            subprocess.run(["psql", "-q", url], input=TABLE.format(name=name, rows=rows), text=True, check=True)
        subprocess.run(["psql", "-q", url, "-c", "vacuum analyze"], check=True)
        exports = {
            name: f"{SETTINGS}select {COLUMNS} from {name} where :user = 'bench'" for name in ["bench", "bench5"]
        }
        psql = ["psql", "-q", url, "-c", f"\\copy (select row_to_json(it) from (select {COLUMNS} from bench) it) to stdout"]
        print("PostgreSQL → NDJSON and Parquet, 1,000,000 rows × 9", flush=True)
        with Server(url, exports, folder) as server:
            peer_values, rowlink_values, parquet = alternate(
                lambda: timed(psql), lambda: timed(curl(server.link("bench", "ndjson"))),
                lambda: timed(curl(server.link("bench", "parquet"))))
            compare_parquet(server, pathlib.Path(folder))
        report("NDJSON, psql row_to_json", rowlink_values, peer_values, "s", "≤", NDJSON_RATIO_MAX)
        report("Parquet, psql row_to_json", parquet, peer_values, "s", "≤", 1)
        peaks = [peak_above_idle_mib(url, exports, export, 1, "parquet") for export in exports]
        report_memory("Parquet, peak above idle, 1,000,000", peaks[0], PARQUET_MIB_MAX)
        report_memory("Parquet, peak above idle, 5,000,000", peaks[1], PARQUET_MIB_MAX)
        if peaks[1] > peaks[0] + PARQUET_GROWTH_MIB:
            missed.append("flat memory of Parquet")


def compare_parquet(server, folder):
    """Compares a download with libraries that write the same rows from memory with one thread."""
    downloaded, written = folder / "rowlink.parquet", folder / "library.parquet"

    def download():
        start = server.processor_seconds()
        timed(curl(server.link("bench", "parquet"), downloaded))
        return server.processor_seconds() - start

    download()
    for library, ratio_max in LIBRARIES.items():
        writer = [ROOT / "target/test-tools/venv/bin/python", ROOT / "benches/peers/parquet_writers.py", library, downloaded, written]
        peer_values, rowlink_values = alternate(
            lambda: float(subprocess.run(writer, check=True, capture_output=True, text=True).stdout), download, runs=5)
        report(f"Parquet, processor time, {library}", rowlink_values, peer_values, "s", "≤", ratio_max)
        sizes = [path.stat().st_size / 1e6 for path in [downloaded, written]]
        print(f"  {'file size':34} {sizes[0]:9.1f} MB against {sizes[1]:9.1f}", flush=True)
