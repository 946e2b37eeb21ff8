"""NDJSON and Parquet from PostgreSQL against psql with `row_to_json`; memory of Parquet."""

import subprocess
import tempfile

from common import MEMORY_NOISE_MIB, Server, alternate, curl, missed, peak_above_idle_mib, report, report_memory, timed
from postgres import COLUMNS, TABLE, cluster

NDJSON_RATIO_MAX = 0.8
PARQUET_MIB_MAX = 40
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
        report("NDJSON, psql row_to_json", rowlink_values, peer_values, "s", "≤", NDJSON_RATIO_MAX)
        report("Parquet, psql row_to_json", parquet, peer_values, "s", "≤", 1)
        peaks = [peak_above_idle_mib(url, exports, export, 1, "parquet") for export in exports]
        report_memory("Parquet, peak above idle, 1,000,000", peaks[0], PARQUET_MIB_MAX)
        report_memory("Parquet, peak above idle, 5,000,000", peaks[1], PARQUET_MIB_MAX)
        if peaks[1] > peaks[0] + MEMORY_NOISE_MIB:
            missed.append("flat memory of Parquet")
