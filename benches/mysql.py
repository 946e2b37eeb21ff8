"""Rowlink over HTTP against `mariadb --batch --quick`, on the same MariaDB server."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from common import (MEMORY_MIB_MAX, MEMORY_NOISE_MIB, Server, alternate, curl, free_port, missed, peak_above_idle_mib,
                    report, report_memory, timed)
from postgres import COLUMNS, unprivileged

WALL_RATIO_MAX = 0.8
TABLE = """
create table {name} (
    id bigint primary key, account bigint, created_at timestamp(6), name varchar(40), amount decimal(12,2),
    note varchar(80), status varchar(10), active boolean, score double
) select seq as id,
         1000000000 + seq * 7919 % 900000000 as account,
         timestamp'2020-09-13 12:26:40' + interval seq second
             + interval (seq * 31) % 1000000 microsecond as created_at,
         concat('Customer ', seq * 104729 % 100000) as name,
         (seq * 1299709 % 10000000) / 100 as amount,
         case seq % 8 when 0 then 'said "yes", then left' when 1 then null
              else concat('a note of usual length, no. ', seq) end as note,
         elt(seq % 3 + 1, 'paid', 'pending', 'refunded') as status,
         seq % 2 = 1 as active,
         (seq * 15485863 % 1000003) / 997e0 as score
from seq_1_to_{rows}
"""
CONFIGURATION = """
[mariadbd]
datadir = {folder}/data
socket = {folder}/socket
pid-file = {folder}/pid
port = {port}
bind-address = 127.0.0.1
innodb_buffer_pool_size = 2G
innodb_flush_log_at_trx_commit = 0
innodb_doublewrite = 0
default-time-zone = '+00:00'
"""


@contextlib.contextmanager
def mariadb():
    """Starts a temporary MariaDB server. Yields its URL, a client command over TCP and one for root over a socket."""
    folder, port = pathlib.Path(tempfile.mkdtemp(prefix="rowlink-bench-")), free_port()
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    subprocess.run([*unprivileged(), "mariadb-install-db", "--no-defaults", f"--datadir={folder}/data",
                    "--auth-root-authentication-method=normal", "--skip-test-db"],
                   check=True, stdout=subprocess.DEVNULL, cwd="/")
    (folder / "my.cnf").write_text(CONFIGURATION.format(folder=folder, port=port))
    server = subprocess.Popen([*unprivileged(), "/usr/sbin/mariadbd", f"--defaults-file={folder}/my.cnf"],
                              stderr=subprocess.DEVNULL, cwd="/")
    socket = ["mariadb", "--no-defaults", f"--socket={folder}/socket", "--user=root"]
    try:
        while subprocess.run([*socket, "-e", "select 1"], capture_output=True).returncode:
            time.sleep(0.1)
        user = "create database bench; create user rowlink@'%'; grant select on *.* to rowlink@'%'"
        subprocess.run([*socket, "-e", user], check=True)
        # Over TCP, as Rowlink connects.
        client = ["mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", f"--port={port}",
                  "--user=rowlink", "bench"]
        yield f"mysql://rowlink@127.0.0.1:{port}/bench?ssl-mode=disabled", client, [*socket, "bench"]
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


def main():
    with mariadb() as (url, client, root), tempfile.TemporaryDirectory() as folder:
        for name, rows in [("bench", 1_000_000), ("bench5", 5_000_000)]:
            print(f"making {rows:,} rows in MariaDB …", flush=True)
            subprocess.run([*root, "-e", TABLE.format(name=name, rows=rows)], check=True)
        query = f"select {COLUMNS} from bench"
        exports = {
            "bench": f"{query} where :user = 'bench'",
            "bench5": f"select {COLUMNS} from bench5 where :user = 'bench'",
        }
        batch = [*client, "--batch", "--quick", "-e", query]
        print("MariaDB → CSV, 1,000,000 rows × 9, against mariadb --batch --quick", flush=True)
        with Server(url, exports, folder) as server:
            peer_values, rowlink_values = alternate(lambda: timed(batch), lambda: timed(curl(server.link("bench"))))
            report("one download", rowlink_values, peer_values, "s", "≤", WALL_RATIO_MAX)
        peaks = [peak_above_idle_mib(url, exports, *what) for what in [("bench", 1), ("bench5", 1)]]
        report_memory("peak above idle, 1,000,000 rows", peaks[0], MEMORY_MIB_MAX)
        report_memory("peak above idle, 5,000,000 rows", peaks[1], MEMORY_MIB_MAX)
        if peaks[1] > peaks[0] + MEMORY_NOISE_MIB:
            missed.append("flat memory from MariaDB")
