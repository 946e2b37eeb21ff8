"""Rowlink over HTTP against `psql \\copy … csv header` and a `COPY` pass-through, on the same cluster."""

import contextlib
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

from common import (MEMORY_MIB_MAX, MEMORY_NOISE_MIB, ROOT, Server, alternate, curl, free_port, missed,
                    peak_above_idle_mib, report, report_memory, timed, wait_until_ready)

WALL_RATIO_MAX = 0.65
CONCURRENT_RATIO_MAX = 0.92
REQUESTS_RATIO_MIN = 1.3
FURTHER_DOWNLOAD_MIB_MAX = 3
SMALL_ROWS = 8_000
CLIENTS = 16
# Beyond the time that as many rows of a large export take.
FIXED_MILLISECONDS_MAX = 1
# Small enough for the buffers of a socket. One client waits for each file before the next request.
TINY_ROWS, TINY_RATIO_MIN = 600, 0.8
EIGHT_RATIO_MAX = 0.8
# Rows that cost the server more than they cost Rowlink: otherwise one connection keeps both processors busy.
COSTLY = """select id, account, created_at, upper(name) as name, md5(note || status) as hash,
    jsonb_build_object('amount', amount, 'name', name, 'score', score)::text as details from bench where :user = 'bench'"""
PARALLEL_RATIO_MAX = 0.8
# Many short turns, so that both sides run under the same machine load.
REQUESTS, TURNS = 160, 18
COLUMNS = "id, account, created_at, name, amount, note, status, active, score"
TABLE = """
create table {name} as
select i::bigint as id,
       1000000000 + (i::bigint * 7919) % 900000000 as account,
       timestamptz '2020-09-13 12:26:40+00' + i * interval '1 second'
           + (i::bigint * 31) % 1000000 * interval '1 microsecond' as created_at,
       'Customer ' || (i::bigint * 104729) % 100000 as name,
       ((i::bigint * 1299709) % 10000000 / 100.0)::numeric(12,2) as amount,
       case i % 8 when 0 then 'said "yes", then left' when 1 then null else 'a note of usual length, no. ' || i end
           as note,
       case i % 3 when 0 then 'paid' when 1 then 'pending' else 'refunded' end as status,
       i % 2 = 1 as active,
       (i::bigint * 15485863) % 1000003 / 997.0::float8 as score
from generate_series(1, {rows}) i;
alter table {name} add primary key (id);
"""
SETTINGS = "fsync = off\nshared_buffers = 2GB\nmax_wal_size = 4GB\nmax_parallel_workers_per_gather = 0\n"


def unprivileged():
    """Returns a command prefix that drops root, which PostgreSQL refuses, to Debian's `postgres` user."""
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@contextlib.contextmanager
def cluster():
    """Starts a temporary PostgreSQL cluster. Yields its URL."""
    versions = pathlib.Path("/usr/lib/postgresql").iterdir()
    programs = max(versions, key=lambda path: int(path.name)) / "bin"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rowlink-bench-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data, port = folder / "data", free_port()
    try:
        subprocess.run([*unprivileged(), programs / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust",
                        "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"],
                       check=True, stdout=subprocess.DEVNULL, cwd="/")
        (data / "postgresql.auto.conf").write_text(
            f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{folder}'\n{SETTINGS}")
        pg_ctl = [*unprivileged(), programs / "pg_ctl", "-D", data, "-l", folder / "log", "-w"]
        subprocess.run([*pg_ctl, "start"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        try:
            yield f"postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
        finally:
            subprocess.run([*pg_ctl, "stop", "-m", "immediate"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def copy_passthrough(url, query):
    address = f"127.0.0.1:{free_port()}"
    peer = subprocess.Popen([ROOT / "target/dist/copy_passthrough", address, url, query])
    try:
        wait_until_ready(f"http://{address}/")
        yield f"http://{address}/"
    finally:
        peer.terminate()
        peer.wait()


def requests_per_second(url, clients=CLIENTS):
    """Runs a closed loop: each client sends its next request when it has the complete file. No client disconnects
    early, because Rowlink would then close its database connection and the figure would include that."""
    result = subprocess.run(["h2load", "--h1", "--requests", str(REQUESTS), "--clients", str(clients), url],
                            capture_output=True, text=True, check=True).stdout
    if f"{REQUESTS} succeeded" not in result:
        raise SystemExit(result)
    return float(re.search(r"([0-9.]+) req/s", result)[1])


def report_fixed_cost(server):
    """Reports the processor time of a small download that is not due to its rows."""
    def seconds(action):
        start = server.processor_seconds()
        action()
        return server.processor_seconds() - start

    per_row, per_request = alternate(
        lambda: seconds(lambda: timed(curl(server.link("bench")))) / 1e6,
        lambda: seconds(lambda: requests_per_second(server.link("small"))) / REQUESTS)
    rows, request = statistics.median(per_row) * SMALL_ROWS * 1000, statistics.median(per_request) * 1000
    fixed = request - rows
    if fixed > FIXED_MILLISECONDS_MAX:
        missed.append("fixed cost of a small download")
    print(f"  {'processor time of a download':34} {request:9.2f} ms, {rows:.2f} for its rows: {fixed:.2f} ms"
          f"   (must be ≤ {FIXED_MILLISECONDS_MAX})", flush=True)


def main():
    with cluster() as url, tempfile.TemporaryDirectory() as folder:
        for name, rows in [("bench", 1_000_000), ("bench10", 10_000_000)]:
            print(f"making {rows:,} rows in PostgreSQL …", flush=True)
            subprocess.run(["psql", "-q", url], input=TABLE.format(name=name, rows=rows), text=True, check=True)
        subprocess.run(["psql", "-q", url, "-c", "vacuum analyze"], check=True)
        query = f"select {COLUMNS} from bench"
        small, tiny = (f"{query} where id <= {rows}" for rows in [SMALL_ROWS, TINY_ROWS])
        exports = {
            "bench": f"{query} where :user = 'bench'",
            "bench10": f"select {COLUMNS} from bench10 where :user = 'bench'",
            "small": f"{small} and :user = 'bench'",
            "tiny": f"{tiny} and :user = 'bench'",
            "costly": COSTLY,
            "parallel": f"/*---\nparallel = 'id'\n---*/\n{COSTLY}",
        }
        psql = ["psql", "-q", url, "-c", f"\\copy ({query}) to stdout csv header"]
        print("PostgreSQL → CSV, 1,000,000 rows × 9, against psql \\copy … csv header", flush=True)
        with Server(url, exports, folder) as server:
            def download():
                return curl(server.link("bench"))

            peer_values, rowlink_values, two_peer, two_rowlink = alternate(
                lambda: timed(psql), lambda: timed(download()),
                lambda: timed(psql, psql), lambda: timed(download(), download()))
            report("one download", rowlink_values, peer_values, "s", "≤", WALL_RATIO_MAX)
            report("two downloads, two psql", two_rowlink, two_peer, "s", "≤", CONCURRENT_RATIO_MAX)
            one, parallel = alternate(lambda: timed(curl(server.link("costly"))), lambda: timed(curl(server.link("parallel"))),
                                      runs=5)
            report("parallel, against one connection", parallel, one, "s", "≤", PARALLEL_RATIO_MAX)
            with copy_passthrough(url, small) as peer:
                peer_values, rowlink_values = alternate(lambda: requests_per_second(peer),
                                         lambda: requests_per_second(server.link("small")), runs=TURNS)
            print(f"{SMALL_ROWS:,} rows, {CLIENTS} clients, against a COPY … CSV pass-through handler")
            report("requests per second", rowlink_values, peer_values, "/s", "≥", REQUESTS_RATIO_MIN)
            report_fixed_cost(server)
            with copy_passthrough(url, tiny) as peer:
                peer_values, rowlink_values = alternate(lambda: requests_per_second(peer, clients=1),
                                         lambda: requests_per_second(server.link("tiny"), clients=1))
            report(f"{TINY_ROWS} rows, one client", rowlink_values, peer_values, "/s", "≥", TINY_RATIO_MIN)
            with copy_passthrough(url, query) as peer:
                peer_values, rowlink_values = alternate(lambda: timed(*[curl(peer)] * 8),
                                         lambda: timed(*[download()] * 8), runs=5)
            report("eight downloads, eight of the handler", rowlink_values, peer_values, "s", "≤", EIGHT_RATIO_MAX)
            start = server.processor_seconds()
            timed(*[download()] * 8)
            print(f"  {'processor time per file of eight':34} {(server.processor_seconds() - start) / 8:9.3f} s", flush=True)
        peaks = [peak_above_idle_mib(url, exports, *what) for what in [("bench", 1), ("bench10", 1), ("bench", 5)]]
        report_memory("peak above idle, 1,000,000 rows", peaks[0], MEMORY_MIB_MAX)
        report_memory("peak above idle, 10,000,000 rows", peaks[1], MEMORY_MIB_MAX)
        if peaks[1] > peaks[0] + MEMORY_NOISE_MIB:
            missed.append("flat memory from PostgreSQL")
        report_memory("each further download", (peaks[2] - peaks[0]) / 4, FURTHER_DOWNLOAD_MIB_MAX)
