"""Several replicas on one PostgreSQL cluster; small requests against nginx's `secure_link`."""

import base64
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from common import ROOT, Server, alternate, curl, free_port, missed, report, timed, wait_until_ready
from postgres import COLUMNS, TABLE, cluster, unprivileged

REPLICAS_RATIO_MIN = 0.9
SIGNED_RATIO_MIN = 0.80
VERIFICATION_MICROSECONDS_MAX = 1
ROWS = 300_000
DOWNLOADS = 6
REQUESTS, CLIENTS, TURNS = 80_000, 64, 12
# `reuseport` distributes connections evenly over the workers, as Rowlink does.
NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log crit; worker_processes auto;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000; default_type text/csv;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{
            secure_link $arg_rl_signature,$arg_rl_expires;
            secure_link_md5 "$secure_link_expires$uri$arg_rl_user secret";
            if ($secure_link = "") {{ return 403; }}
            if ($secure_link = "0") {{ return 410; }}
            return 200;
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx():
    """Starts nginx, which answers a valid signed link with an empty 200. Yields a valid link."""
    folder, port = pathlib.Path(tempfile.mkdtemp(prefix="rowlink-bench-")), free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = subprocess.Popen([*unprivileged(), "/usr/sbin/nginx", "-c", config], stderr=subprocess.DEVNULL)
    try:
        expires, path = 4_000_000_000, "/v1/exports/bench.csv"
        digest = hashlib.md5(f"{expires}{path}bench secret".encode()).digest()
        signature = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        url = f"http://127.0.0.1:{port}{path}?rl_user=bench&rl_expires={expires}&rl_signature={signature}"
        wait_until_ready(url)
        yield url
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def forged(url):
    return url.replace("rl_user=bench", "rl_user=other")


def refusals_per_second(url):
    """Returns the rate of 403 responses to forged links."""
    threads = len(os.sched_getaffinity(0))
    load = ["h2load", "--h1", "-n", str(REQUESTS), "-c", str(CLIENTS), "-t", str(min(threads, CLIENTS)), url]
    result = subprocess.run(load, capture_output=True, text=True, check=True).stdout
    if f"{REQUESTS} 4xx" not in result:
        raise SystemExit(result)
    return float(re.search(r"([0-9.]+) req/s", result)[1])


def heads_per_second(url):
    """Returns the rate of HEAD responses to a valid link."""
    load = [ROOT / "target/dist/heads", url, str(CLIENTS)]
    return float(subprocess.run(load, capture_output=True, text=True, check=True).stdout)


def throughput(url, exports):
    """Returns rows per second of concurrent downloads, in millions, for one, two and three replicas."""
    with contextlib.ExitStack() as stack:
        servers = []
        for _ in range(3):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            servers.append(stack.enter_context(Server(url, exports, folder)))

        def rows_per_second(replicas):
            links = [servers[index % replicas].link("bench") for index in range(DOWNLOADS)]
            return DOWNLOADS * ROWS / timed(*map(curl, links)) / 1e6

        return alternate(*(lambda replicas=replicas: rows_per_second(replicas) for replicas in [1, 2, 3]), runs=5)


def main():
    with cluster() as url, tempfile.TemporaryDirectory() as folder:
        subprocess.run(["psql", "-q", url], input=TABLE.format(name="bench", rows=ROWS), text=True, check=True)
        exports = {"bench": f"select {COLUMNS} from bench where :user = 'bench'"}
        print(f"{DOWNLOADS} concurrent downloads of {ROWS:,} rows × 9, from replicas on this machine", flush=True)
        one, two, three = throughput(url, exports)
        report("two replicas, against one", two, one, "M rows/s", "≥", REPLICAS_RATIO_MIN)
        report("three replicas, against one", three, one, "M rows/s", "≥", REPLICAS_RATIO_MIN)
        print("small requests, against nginx secure_link", flush=True)
        with Server(url, exports, folder) as server, nginx() as peer_link:
            rowlink_link = server.link("bench")
            refused, peer_refused = alternate(lambda: refusals_per_second(forged(rowlink_link)),
                                              lambda: refusals_per_second(forged(peer_link)), runs=TURNS)
            heads, peer_heads = alternate(lambda: heads_per_second(rowlink_link), lambda: heads_per_second(peer_link), runs=TURNS)
        report("bad signature, 403", refused, peer_refused, "/s", "≥", SIGNED_RATIO_MIN)
        report("HEAD of a valid link, 200", heads, peer_heads, "/s", "≥", SIGNED_RATIO_MIN)
        report_verification()


def report_verification():
    """Reports the time to verify a valid link and to reject a forged one, from the query string on."""
    lines = subprocess.run([ROOT / "target/timing/dist/verification"], capture_output=True, text=True, check=True)
    for line in lines.stdout.splitlines():
        what, microseconds = line.split()
        if float(microseconds) > VERIFICATION_MICROSECONDS_MAX:
            missed.append(f"verification of a {what} link")
        limit = f"(must be ≤ {VERIFICATION_MICROSECONDS_MAX})"
        print(f"  {f'verification of a {what} link':34} {float(microseconds):9.2f} µs   {limit}")
