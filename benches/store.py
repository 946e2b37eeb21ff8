"""Stored files: what a redirect costs, what an upload beside a stream costs, and ranges through a replica against nginx."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from common import (ROOT, Server, alternate, curl, first_byte_milliseconds, free_port, missed, report, timed,
                    wait_until_ready)
from postgres import unprivileged
from replicas import CLIENTS, forged
from sqlite import COLUMNS, make_table

REDIRECT_MICROSECONDS_MAX = 100
REDIRECT_RATIO_MIN = 0.5
UPLOAD_RATIO_MAX = 1.15
UPLOAD_FIRST_BYTE_MS_MAX = 5
RANGE_RATIO_MIN = 0.8
REQUESTS = 20_000
CLICKS = 200
ROUNDS = 5
KEYS = ("AKIDBENCH", "a secret of the benchmark")
NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log crit; worker_processes auto;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""


@contextlib.contextmanager
def seaweedfs():
    """Starts SeaweedFS. Yields the variables of a bucket."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rowlink-bench-"))
    (folder / "data").mkdir()
    identity = '{"identities": [{"name": "bench", "actions": ["Admin"], "credentials": [{"accessKey": "%s", "secretKey": "%s"}]}]}'
    (folder / "s3.json").write_text(identity % KEYS)
    if os.getuid() == 0:
        for path in [folder, folder / "data"]:
            shutil.chown(path, "postgres", "postgres")
    flags = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
             "filer.port", "filer.port.grpc"]
    ports = {flag: free_port() for flag in flags}
    origin = f"http://127.0.0.1:{ports['s3.port']}"
    command = [*unprivileged(), ROOT / "target/test-tools/weed", "-logtostderr", "server", "-filer", "-s3",
               "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.peers=none",
               "-master.volumeSizeLimitMB=1024", "-volume.max=50", "-s3.port.iceberg=0", "-s3.port.lance=0",
               f"-dir={folder}/data", f"-s3.config={folder}/s3.json", *(f"-{flag}={port}" for flag, port in ports.items())]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"HOME": str(folder)})
    try:
        wait_until_ready(f"{origin}/healthz")
        subprocess.run(["curl", "-sf", "-X", "PUT", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", ":".join(KEYS),
                        f"{origin}/files"], check=True)
        yield {"ROWLINK_STORE_URL": "s3://files", "AWS_ENDPOINT_URL": origin, "AWS_ALLOW_HTTP": "true",
               "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1]}
    finally:
        # SIGTERM would take 15 seconds.
        server.kill()
        server.wait()
        for flag in flags:
            if flag.endswith("grpc"):
                part = flag.split(".")[0]
                pathlib.Path(f"/tmp/seaweedfs-{part}-grpc-{ports[flag]}.sock").unlink(missing_ok=True)
        shutil.rmtree(folder)


@contextlib.contextmanager
def nginx(file):
    """Starts nginx with one file. Yields its URL."""
    folder, port = pathlib.Path(tempfile.mkdtemp(prefix="rowlink-bench-")), free_port()
    (folder / "files").mkdir()
    shutil.copy(file, folder / "files/file.csv")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    if os.getuid() == 0:
        os.chmod(folder, 0o755)
        shutil.chown(folder, "postgres", "postgres")
    server = subprocess.Popen([*unprivileged(), "/usr/sbin/nginx", "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/file.csv")
        yield f"http://127.0.0.1:{port}/file.csv"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def export(settings):
    return f"/*---\n[store]\n{settings}\n---*/\nselect {COLUMNS} from bench where :user = 'bench'"


def serve(folder, settings, **variables):
    spool = pathlib.Path(folder, "spool")
    spool.mkdir()
    return Server(f"sqlite:{make_table(1_000_000)}", {"bench": export(settings)}, folder, writes_files=True,
                  ROWLINK_SPOOL_DIR=str(spool), ROWLINK_SPOOL_BYTES="4000000000", **variables)


def wait_for_uploads(server, count):
    while server.metric("rowlink_uploads_total") < count:
        time.sleep(0.02)


def rate(url, status):
    """Returns the requests per second that are answered with this class of status."""
    load = ["h2load", "--h1", "-n", str(REQUESTS), "-c", str(CLIENTS), url]
    result = subprocess.run(load, capture_output=True, text=True, check=True).stdout
    if f"{REQUESTS} {status}" not in result:
        raise SystemExit(result)
    return float(re.search(r"([0-9.]+) req/s", result)[1])


def processor_seconds(server):
    fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def redirects(store):
    with tempfile.TemporaryDirectory() as folder, serve(folder, "mode = 'always'\nreuse_seconds = 3600", **store) as server:
        timed(curl(server.link("bench")))
        wait_for_uploads(server, 1)
        for _ in range(CLICKS):
            timed(curl(server.link("bench")))
        queries = server.metric("rowlink_download_database_seconds_count")
        if queries != 1:
            missed.append("one query for many clicks")
        print(f"  {CLICKS} clicks within reuse_seconds: {queries:.0f} query", flush=True)
        url = server.link("bench")
        before = processor_seconds(server)
        rate(url, "3xx")
        microseconds = (processor_seconds(server) - before) / REQUESTS * 1e6
        if microseconds > REDIRECT_MICROSECONDS_MAX:
            missed.append("processor time per redirect")
        print(f"  processor time per redirect: {microseconds:.0f} µs   (must be ≤ {REDIRECT_MICROSECONDS_MAX})", flush=True)
        redirected, refused = alternate(lambda: rate(url, "3xx"), lambda: rate(forged(url), "4xx"), runs=ROUNDS)
        report("redirects, against forged links", redirected, refused, "/s", "≥", REDIRECT_RATIO_MIN)


def uploads(store):
    with (tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other,
          serve(folder, "mode = 'always'", **store) as storing, serve(other, "mode = 'never'") as streaming):
        done = [0]

        def upload(measure):
            value = measure(storing.link("bench"))
            done[0] += 1
            wait_for_uploads(storing, done[0])
            return value

        seconds = lambda url: timed(curl(url))
        stored, streamed = alternate(lambda: upload(seconds), lambda: seconds(streaming.link("bench")), runs=ROUNDS)
        report("a stream with its upload", stored, streamed, "s", "≤", UPLOAD_RATIO_MAX)
        stored, streamed = alternate(lambda: upload(first_byte_milliseconds),
                                     lambda: first_byte_milliseconds(streaming.link("bench")), runs=ROUNDS)
        later = sorted(one - other for one, other in zip(stored, streamed))[ROUNDS // 2]
        if later > UPLOAD_FIRST_BYTE_MS_MAX:
            missed.append("first byte of a stream with its upload")
        print(f"  first byte later by {later:.1f} ms   (must be ≤ {UPLOAD_FIRST_BYTE_MS_MAX})", flush=True)


def ranges():
    with (tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as directory,
          serve(folder, "mode = 'always'", ROWLINK_STORE_URL=f"file://{directory}") as server):
        url = server.link("bench")
        timed(curl(url))
        wait_for_uploads(server, 1)
        headers = subprocess.run(["curl", "-sI", url], capture_output=True, text=True, check=True).stdout
        tag = re.search(r"(?i)etag: (.*)", headers)[1].strip()
        part = lambda url: ["curl", "-sf", "-o", "/dev/null", "-H", "Range: bytes=1000-", *url]
        file = next(path for path in pathlib.Path(directory).iterdir() if path.suffix == ".csv")
        with nginx(file) as peer:
            own = lambda: 1 / timed(part(["-H", f"If-Range: {tag}", url]))
            other = lambda: 1 / timed(part([peer]))
            values = alternate(own, other, runs=ROUNDS)
        report("ranges of a file, against nginx", *values, "/s", "≥", RANGE_RATIO_MIN)


def main():
    print("Stored files: SQLite → CSV, 1,000,000 rows × 9; SeaweedFS on the same machine", flush=True)
    with seaweedfs() as store:
        redirects(store)
        uploads(store)
    ranges()
