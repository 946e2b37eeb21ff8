"""Rowlink over HTTP against `sqlite3 -csv -header` on the same file."""

import subprocess
import tempfile

from common import (MEMORY_MIB_MAX, MEMORY_NOISE_MIB, ROOT, Server, alternate, curl, missed,
                    peak_above_idle_mib, report, report_memory, timed)

WALL_RATIO_MAX = 0.3
COLUMNS = "id, account, created_at, name, amount, note, status, active, score"
TABLE = """
pragma journal_mode = off;
pragma synchronous = off;
create table bench (
  id integer primary key, account integer, created_at text, name text, amount numeric,
  note text, status text, active boolean, score real
);
insert into bench
with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows})
select i,
       1000000000 + (i * 7919) % 900000000,
       strftime('%Y-%m-%dT%H:%M:%S', 1600000000 + i, 'unixepoch') || '.' || printf('%06d', (i * 31) % 1000000) || 'Z',
       'Customer ' || ((i * 104729) % 100000),
       ((i * 1299709) % 10000000) / 100.0,
       case i % 8 when 0 then 'said "yes", then left' when 1 then null else 'a note of usual length, no. ' || i end,
       case i % 3 when 0 then 'paid' when 1 then 'pending' else 'refunded' end,
       i % 2,
       ((i * 15485863) % 1000003) / 997.0
from n;
"""


def make_table(rows):
    path = ROOT / f"target/bench/rows-{rows}.db"
    if not path.exists():
        print(f"making {rows:,} rows in SQLite …", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        subprocess.run(["sqlite3", partial], input=TABLE.format(rows=rows), text=True, check=True,
                       stdout=subprocess.DEVNULL)
        partial.rename(path)
    return path


def main():
    million, ten_million = make_table(1_000_000), make_table(10_000_000)
    exports = {"bench": f"select {COLUMNS} from bench where :user = 'bench'"}
    sqlite3 = ["sqlite3", "-csv", "-header", f"file:{million}?mode=ro", f"select {COLUMNS} from bench"]
    print("SQLite → CSV, 1,000,000 rows × 9, against sqlite3 -csv -header", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        with Server(f"sqlite:{million}", exports, folder) as server:
            peer_values, rowlink_values = alternate(lambda: timed(sqlite3), lambda: timed(curl(server.link("bench"))))
    report("one download", rowlink_values, peer_values, "s", "≤", WALL_RATIO_MAX)
    peaks = [peak_above_idle_mib(f"sqlite:{database}", exports, "bench") for database in [million, ten_million]]
    report_memory("peak above idle, 1,000,000 rows", peaks[0], MEMORY_MIB_MAX)
    report_memory("peak above idle, 10,000,000 rows", peaks[1], MEMORY_MIB_MAX)
    if peaks[1] > peaks[0] + MEMORY_NOISE_MIB:
        missed.append("flat memory from SQLite")
