"""Shared by the benchmarks: the measured server, timing and reports."""

import json
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
ROWLINK = ROOT / "target/dist/rowlink"
RUNS = 9
MEMORY_MIB_MAX = 12
# Difference between two runs. Growth with rows would be a hundred times as much.
MEMORY_NOISE_MIB = 2

missed = []


def report(what, rowlink_values, peer_values, unit, better, limit):
    """Prints Rowlink's figure next to a peer's and records a missed limit. The ratio is computed per round,
    because the speed of the machine may change between rounds."""
    ratio = statistics.median(value / peer_value for value, peer_value in zip(rowlink_values, peer_values))
    rowlink, peer = statistics.median(rowlink_values), statistics.median(peer_values)
    held = ratio <= limit if better == "≤" else ratio >= limit
    if not held:
        missed.append(what)
    print(f"  {what:34} {rowlink:9.3f} {unit}  against {peer:9.3f}: {ratio:5.2f}   (must be {better} {limit})", flush=True)


def report_memory(what, mib, limit):
    if mib > limit:
        missed.append(what)
    print(f"  {what:34} {mib:9.1f} MiB   (must be ≤ {limit})", flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def timed(*commands):
    """Returns the seconds until all commands, run concurrently, have ended."""
    start = time.perf_counter()
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    if any(process.wait() for process in processes):
        sys.exit("a command failed")
    return time.perf_counter() - start


def alternate(*measures, runs=RUNS):
    """Runs the measures in turn, so that a slow phase affects all of them. Returns the results of each."""
    taken = [[] for _ in measures]
    for _ in range(runs):
        for results, measure in zip(taken, measures):
            results.append(measure())
    return taken


def wait_until_ready(url):
    for _ in range(200):
        try:
            urllib.request.urlopen(url)
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{url} does not answer")


def curl(url, file="/dev/null"):
    return ["curl", "-sf", "-o", file, url]


def first_byte_milliseconds(url):
    """Returns the time from the request, which is slightly before the first row, to the first byte."""
    seconds = subprocess.run(["curl", "-sf", "-o", "/dev/null", "-w", "%{time_starttransfer}", url],
                             capture_output=True, text=True, check=True).stdout
    return float(seconds) * 1000


class Server:
    """`rowlink serve` on one database, with the given exports."""

    def __init__(self, database_url, exports, folder, writes_files=False, **variables):
        exports_dir = pathlib.Path(folder, "exports")
        for name, text in exports.items():
            # A file of a book has its folder and extension.
            path = exports_dir / (name if "/" in name else f"{name}.sql")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
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
            "ROWLINK_DATABASE_URL": database_url,
            "ROWLINK_DATABASE_CONNECTIONS": "16",
            "ROWLINK_EXPORTS_DIR": str(exports_dir),
            "ROWLINK_SIGNING_KEYS": key,
            "ROWLINK_API_KEYS_FILE": str(pathlib.Path(folder) / "api-keys.toml"),
            # A single user makes all requests.
            "ROWLINK_MAX_DOWNLOADS_PER_USER": "1000",
            "ROWLINK_MAX_DOWNLOADS_PER_LINK": "1000",
            "ROWLINK_MAX_LINKS_PER_SECOND": "100000",
            "ROWLINK_LOG": "error,rowlink::http::audit=off",
            **variables,
        }
        # The kernel kills the server if it writes a byte to a file.
        no_files = [] if writes_files else ["prlimit", "--fsize=0"]
        self.process = subprocess.Popen([*no_files, ROWLINK, "serve"], env=environment)
        wait_until_ready(f"{self.origin}/readyz")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def link(self, export, format="csv"):
        request = urllib.request.Request(
            f"{self.origin}/v1/links",
            data=json.dumps({"export": export, "format": format, "expires_in": 3600}).encode(),
            headers={"Authorization": f"Bearer {self.token}"},
        )
        return json.load(urllib.request.urlopen(request))["url"]

    def metric(self, name):
        """Returns the sum of a metric over its labels."""
        lines = urllib.request.urlopen(f"{self.origin}/metrics").read().decode().splitlines()
        values = [line.split()[1] for line in lines if re.match(rf"{name}[ {{]", line)]
        return sum(map(float, values))

    def processor_seconds(self):
        """Returns the processor time of the server so far. The kernel counts it in ticks for other clocks."""
        # CLOCK_PROCESS_CPUTIME_ID of another process: `clock_getcpuclockid` of the C library.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def resident_mib(self, field):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024

    def peak_above_idle_mib(self, export, downloads, format):
        subprocess.run(["curl", "-sI", self.link(export, format)], stdout=subprocess.DEVNULL, check=True)
        idle = self.resident_mib("VmRSS")
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        timed(*(curl(self.link(export, format)) for _ in range(downloads)))
        return self.resident_mib("VmHWM") - idle


def peak_above_idle_mib(database_url, exports, export, downloads=1, format="csv"):
    """Returns the peak resident memory of concurrent downloads above that of an idle new server, in MiB. This is
    the median of three runs, which differ by half a MiB."""
    peaks = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder, Server(database_url, exports, folder) as server:
            peaks.append(server.peak_above_idle_mib(export, downloads, format))
    return statistics.median(peaks)
