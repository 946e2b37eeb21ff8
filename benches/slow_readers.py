"""A hundred slow readers of a large export, with a spool: how long they keep the database, and what others notice."""

import statistics
import subprocess
import tempfile
import time

from common import Server, alternate, curl, first_byte_milliseconds, missed, timed
from postgres import COLUMNS, TABLE, cluster

READERS = 100
BYTES_PER_SECOND = "1M"
CONNECTIONS = 10
SPOOL_BYTES = 14 << 30
DATABASE_RATIO_MAX = 1.5
FIRST_BYTE_MS_MAX = 100
# Above what as many downloads take without a spool.
DOWNLOAD_MIB_MAX = 2
KEPT_TURNS = 15
KEPT_RATIO_MAX = 1.5
PATIENT = ["--retry", "100", "--retry-delay", "1", "--retry-all-errors"]


def check(what, value, unit, limit):
    if value > limit:
        missed.append(what)
    print(f"  {what:44} {value:9.2f} {unit}   (must be ≤ {limit})", flush=True)


def database_seconds(server):
    return server.metric("rowlink_download_database_seconds_sum")


def at_full_speed(server):
    """Returns the seconds of database connections that as many fast downloads take."""
    before = database_seconds(server)
    for _ in range(READERS // CONNECTIONS):
        timed(*(curl(server.link("bench")) for _ in range(CONNECTIONS)))
    return database_seconds(server) - before


def slowly(server):
    """Starts the slow readers; returns them, the peak of the disk, their start, and the seconds until no query runs any more."""
    begun = time.perf_counter()
    readers = [subprocess.Popen([*curl(server.link("bench")), "--limit-rate", BYTES_PER_SECOND, *PATIENT])
               for _ in range(READERS)]
    quiet = peak = 0
    # A reader that found all connections in use tries again after a second.
    while quiet < 4:
        time.sleep(1)
        peak = max(peak, server.metric("rowlink_spool_bytes"))
        quiet = 0 if server.metric("rowlink_database_connections_in_use") else quiet + 1
    return readers, peak, begun, time.perf_counter() - begun - quiet


def main():
    with cluster() as url, tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as spool:
        subprocess.run(["psql", "-q", url], input=TABLE.format(name="bench", rows=1_000_000), text=True, check=True)
        subprocess.run(["psql", "-q", url, "-c", "vacuum analyze"], check=True)
        query = f"select {COLUMNS} from bench"
        exports = {"bench": f"{query} where :user = 'bench'", "small": f"{query} where id <= 5000 and :user = 'bench'"}
        variables = {"ROWLINK_SPOOL_DIR": spool, "ROWLINK_SPOOL_BYTES": str(SPOOL_BYTES),
                     "ROWLINK_DATABASE_CONNECTIONS": str(CONNECTIONS), "ROWLINK_MAX_DOWNLOADS": "1000", "ROWLINK_LOG": "off,rowlink::http::audit=off"}
        print(f"{READERS} readers at {BYTES_PER_SECOND}B/s of 1,000,000 rows × 9 as CSV, {CONNECTIONS} connections", flush=True)
        with Server(url, exports, folder, writes_files=True, **variables) as server:
            timed(curl(server.link("bench")))
            check("one fast reader: bytes on the disk", server.metric("rowlink_spooled_bytes_total"), "B", 0)
            idle = server.resident_mib("VmRSS")
            full_speed = at_full_speed(server)
            before = database_seconds(server)
            readers, peak, begun, seconds = slowly(server)
            print(f"  all queries had ended after {seconds:.0f} s", flush=True)
            check("memory of each slow reader", (server.resident_mib("VmRSS") - idle) / READERS, "MiB", DOWNLOAD_MIB_MAX)
            times = [first_byte_milliseconds(server.link("small")) for _ in range(20)]
            check("first byte of another user, slowest of 20", max(times), "ms", FIRST_BYTE_MS_MAX)
            print(f"  its median                                   {statistics.median(times):9.2f} ms", flush=True)
            if any([reader.wait() for reader in readers]):
                missed.append("whole files of slow readers")
            print(f"  all {READERS} files were read after {time.perf_counter() - begun:.0f} s", flush=True)
            check("disk, of its budget", peak / SPOOL_BYTES, "", 1)
            # Without the small downloads, which take milliseconds.
            used = database_seconds(server) - before
            check("database, against the same files at full speed", used / full_speed, "×", DATABASE_RATIO_MAX)
            print(f"  {used:.0f} s of connections; at full speed {full_speed:.0f} s", flush=True)
        kept_files(url, exports, variables)


def kept_files(url, exports, variables):
    """Compares a fast reader of files that are kept with one of files that are not."""
    keep = {"ROWLINK_SPOOL_KEEP_SECONDS": "600"}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other, \
            Server(url, exports, folder, writes_files=True, **variables) as server, \
            Server(url, exports, other, writes_files=True, **variables, **keep) as keeping:
        measures = [lambda it=it: timed(curl(it.link("bench"))) for it in (server, keeping)]
        without, kept = map(statistics.median, alternate(*measures, runs=KEPT_TURNS))
        check("one fast reader of kept files, against others", kept / without, "×", KEPT_RATIO_MAX)
