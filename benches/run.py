#!/usr/bin/env python3
"""Measures Rowlink over HTTP against `sqlite3 -csv -header` on the same file, in one run.

A million rows of nine columns, about 125 MB of CSV, median of five alternating runs; then the peak
resident memory of one download of that table and of one ten times as long. Exits with 1 where a
target is missed. `make bench` builds the release binary first.
"""

import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROWLINK = ROOT / "target/release/rowlink"
RUNS = 5
WALL_RATIO_MAX = 0.45
MEMORY_MIB_MAX = 12
# What one run differs from the next by; growth with rows would be a hundred times as much.
MEMORY_NOISE_MIB = 2

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
COLUMNS = "id, account, created_at, name, amount, note, status, active, score"
EXPORT = f"select {COLUMNS} from bench where :user = 'bench'"


def make_table(path, rows):
    if not path.exists():
        print(f"making {rows:,} rows …", flush=True)
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        subprocess.run(["sqlite3", partial], input=TABLE.format(rows=rows), text=True, check=True,
                       stdout=subprocess.DEVNULL)
        partial.rename(path)
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`rowlink serve` over one database file."""

    def __init__(self, database, folder):
        exports = pathlib.Path(folder, "exports")
        exports.mkdir(exist_ok=True)
        (exports / "bench.sql").write_text(EXPORT)
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        key = subprocess.run([ROWLINK, "keygen"], capture_output=True, text=True, check=True).stdout.strip()
        api_key = subprocess.run([ROWLINK, "keygen", "--api-key", "bench"],
                                 capture_output=True, text=True, check=True)
        (pathlib.Path(folder) / "api-keys.toml").write_text(api_key.stdout)
        self.token = re.search("rlk_[A-Za-z0-9_-]+", api_key.stderr)[0]
        environment = {
            "ROWLINK_BIND": f"127.0.0.1:{port}",
            "ROWLINK_PUBLIC_URL": self.origin,
            "ROWLINK_DATABASE_URL": f"sqlite:{database}",
            "ROWLINK_EXPORTS_DIR": str(exports),
            "ROWLINK_SIGNING_KEYS": key,
            "ROWLINK_API_KEYS_FILE": str(pathlib.Path(folder) / "api-keys.toml"),
            "ROWLINK_LOG": "error",
        }
        self.process = subprocess.Popen([ROWLINK, "serve"], env=environment)
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{self.origin}/readyz")
                break
            except OSError:
                time.sleep(0.05)
        else:
            sys.exit("rowlink serve does not get ready")

    def link(self):
        request = urllib.request.Request(
            f"{self.origin}/v1/links",
            data=json.dumps({"export": "bench", "format": "csv", "expires_in": 600}).encode(),
            headers={"Authorization": f"Bearer {self.token}"},
        )
        return json.load(urllib.request.urlopen(request))["url"]

    def resident_mib(self, field):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024

    def peak_above_idle_mib(self):
        """Peak resident memory of one download, above what the server needs before it."""
        subprocess.run(["curl", "-sI", self.link()], stdout=subprocess.DEVNULL, check=True)
        idle = self.resident_mib("VmRSS")
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        download(self.link())
        return self.resident_mib("VmHWM") - idle

    def stop(self):
        self.process.terminate()
        self.process.wait()


def timed(command, **options):
    start = time.perf_counter()
    subprocess.run(command, check=True, **options)
    return time.perf_counter() - start


def download(url):
    return timed(["curl", "-s", "-o", "/dev/null", url])


def command_line(database):
    query = f"select {COLUMNS} from bench"
    return timed(["sqlite3", "-csv", "-header", f"file:{database}?mode=ro", query], stdout=subprocess.DEVNULL)


def main():
    cache = ROOT / "target/bench"
    cache.mkdir(parents=True, exist_ok=True)
    million = make_table(cache / "rows-1m.db", 1_000_000)
    ten_million = make_table(cache / "rows-10m.db", 10_000_000)
    version = subprocess.run(["sqlite3", "--version"], capture_output=True, text=True).stdout.split()[0]
    missed = []

    with tempfile.TemporaryDirectory() as folder:
        server = Server(million, folder)
        try:
            size = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{size_download}", server.link()],
                                  capture_output=True, text=True, check=True).stdout
            ours, theirs = [], []
            for _ in range(RUNS):
                theirs.append(command_line(million))
                ours.append(download(server.link()))
        finally:
            server.stop()
        ours, theirs = statistics.median(ours), statistics.median(theirs)
        ratio = ours / theirs
        print(f"SQLite → CSV, 1,000,000 rows × 9, {int(size) / 1e6:.0f} MB, median of {RUNS}")
        print(f"  sqlite3 {version} -csv -header      {theirs:6.3f} s   1.00")
        print(f"  rowlink over HTTP to curl       {ours:6.3f} s   {ratio:.2f}   (must be ≤ {WALL_RATIO_MAX})")
        if ratio > WALL_RATIO_MAX:
            missed.append("wall")

        peaks = []
        print("Peak resident memory above idle, one download")
        for database, rows in [(million, "1,000,000"), (ten_million, "10,000,000")]:
            server = Server(database, folder)
            try:
                peak = server.peak_above_idle_mib()
            finally:
                server.stop()
            print(f"  {rows:>10} rows                 {peak:6.1f} MiB        (must be ≤ {MEMORY_MIB_MAX})")
            if peak > MEMORY_MIB_MAX:
                missed.append(f"memory of {rows} rows")
            peaks.append(peak)
        if peaks[1] > peaks[0] + MEMORY_NOISE_MIB:
            missed.append("flat memory")
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    os.environ.pop("http_proxy", None)
    main()
