"""Compressed CSV from PostgreSQL against `psql` and a compressor behind a pipe, and over a slow network."""

import contextlib
import socket
import subprocess
import tempfile
import threading
import time

from common import Server, alternate, report, timed
from postgres import COLUMNS, TABLE, cluster

RATIO_MAX = {"gzip": 0.6, "zstd": 0.75}
# 10 Mbit/s.
SLOW_BYTES_PER_SECOND = 1_250_000
SLOW_ROWS, SLOW_RATIO_MAX = 300_000, 1.05


def compressed(url, coding, file="/dev/null"):
    return ["curl", "-sf", "-H", f"Accept-Encoding: {coding}", "-o", file, url]


def forward_slowly(client, port):
    """Passes a request on, and the response back at the rate of the network."""
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        server.sendall(client.recv(65536))
        start, sent = time.perf_counter(), 0
        while piece := server.recv(12_500):
            client.sendall(piece)
            sent += len(piece)
            time.sleep(max(0, start + sent / SLOW_BYTES_PER_SECOND - time.perf_counter()))


@contextlib.contextmanager
def slow_network(port):
    """Listens on a port before a server; yields it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def accept():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=forward_slowly, args=[client, port], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def main():
    with cluster() as url, tempfile.TemporaryDirectory() as folder:
        print("making 1,000,000 rows in PostgreSQL …", flush=True)
        subprocess.run(["psql", "-q", url], input=TABLE.format(name="bench", rows=1_000_000), text=True, check=True)
        subprocess.run(["psql", "-q", url, "-c", "vacuum analyze"], check=True)
        query = f"select {COLUMNS} from bench"
        exports = {"bench": f"{query} where :user = 'bench'",
                   "slow": f"{query} where id <= {SLOW_ROWS} and :user = 'bench'"}
        print("PostgreSQL → compressed CSV, 1,000,000 rows × 9, against psql \\copy … | gzip -1, zstd -1", flush=True)
        with Server(url, exports, folder) as server:
            for coding in RATIO_MAX:
                psql = f"psql -q '{url}' -c \"\\copy ({query}) to stdout csv header\" | {coding} -1 -c"
                peer_values, rowlink_values = alternate(
                    lambda: timed(["sh", "-c", psql]), lambda: timed(compressed(server.link("bench"), coding)), runs=5)
                report(coding, rowlink_values, peer_values, "s", "≤", RATIO_MAX[coding])
            port = int(server.origin.rsplit(":")[-1])
            with slow_network(port) as slow_port:
                link = server.link("slow")
                for coding in ["identity", "gzip", "zstd"]:
                    file = f"{folder}/{coding}"
                    seconds = timed(compressed(link.replace(f":{port}/", f":{slow_port}/"), coding, file))
                    with open(file, "rb") as content:
                        ideal = len(content.read()) / SLOW_BYTES_PER_SECOND
                    report(f"{coding} at 10 Mbit/s, of size ÷ rate", [seconds], [ideal], "s", "≤", SLOW_RATIO_MAX)

