"""Rowlink over HTTP against programs that write the same SQLite rows to a workbook."""

import pathlib
import statistics
import tempfile

from common import (MEMORY_NOISE_MIB, ROOT, Server, alternate, curl, first_byte_milliseconds, missed,
                    peak_above_idle_mib, report, report_memory, timed)
from sqlite import COLUMNS, make_table

DEFAULT_LEVEL_RATIO_MIN = 8
FASTEST_LEVEL_RATIO_MIN = 4
MEGABYTES_MAX = 85
PYTHON_RATIO_MIN = 40
FIRST_BYTE_MILLISECONDS_MAX = 5
MEMORY_MIB_MAX = 12
FURTHER_DOWNLOAD_MIB_MAX = 10
# Fewer runs, because the peers are slow: XlsxWriter for Python takes one to two minutes.
RUNS = 5


def main():
    million, ten_million = make_table(1_000_000), make_table(10_000_000)
    query = f"select {COLUMNS} from bench"
    exports = {
        "bench": f"{query} where :user = 'bench'",
        "bench5": f"{query} where id <= 5000000 and :user = 'bench'",
    }
    print("SQLite → XLSX, 1,000,000 rows × 9, against constant-memory writers", flush=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
        rust, python = ROOT / "target/dist/rust_xlsxwriter", ROOT / "target/test-tools/venv/bin/python"
        file = {name: pathlib.Path(folder, f"{name}.xlsx") for name in ["rowlink", "default", "fastest", "python"]}
        default = [rust, "6", million, query, file["default"]]
        fastest = [rust, "1", million, query, file["fastest"]]
        xlsxwriter = [python, ROOT / "benches/peers/python_xlsxwriter.py", million, query, file["python"]]
        with Server(f"sqlite:{million}", exports, folder) as server:
            def download():
                return curl(server.link("bench", "xlsx"), file["rowlink"])

            rowlink_values, peer_values, fastest_values = alternate(
                lambda: timed(download()), lambda: timed(default), lambda: timed(fastest), runs=RUNS)
            report("rust_xlsxwriter", peer_values, rowlink_values, "s", "≥", DEFAULT_LEVEL_RATIO_MIN)
            report("rust_xlsxwriter, level 1", fastest_values, rowlink_values, "s", "≥", FASTEST_LEVEL_RATIO_MIN)
            peer_values = timed(xlsxwriter)
            rowlink_values, = alternate(lambda: timed(download()), runs=RUNS)
            report("XlsxWriter for Python, one run", [peer_values] * RUNS, rowlink_values, "s", "≥", PYTHON_RATIO_MIN)
            report_first_byte(server.link("bench", "xlsx"))
        for name, path in file.items():
            print(f"  file size, {name:23} {path.stat().st_size / 1e6:9.1f} MB")
        if file["rowlink"].stat().st_size > MEGABYTES_MAX * 1e6:
            missed.append("size of a workbook")
    peaks = [peak_above_idle_mib(f"sqlite:{database}", exports, export, downloads, "xlsx") for database, export, downloads
             in [(million, "bench", 1), (ten_million, "bench5", 1), (million, "bench", 4)]]
    report_memory("peak above idle, 1,000,000 rows", peaks[0], MEMORY_MIB_MAX)
    report_memory("peak above idle, 5,000,000 rows", peaks[1], MEMORY_MIB_MAX)
    if peaks[1] > peaks[0] + MEMORY_NOISE_MIB:
        missed.append("flat memory of workbooks")
    report_memory("each further download", (peaks[2] - peaks[0]) / 3, FURTHER_DOWNLOAD_MIB_MAX)


def report_first_byte(url):
    milliseconds, = alternate(lambda: first_byte_milliseconds(url))
    middle = statistics.median(milliseconds)
    if middle > FIRST_BYTE_MILLISECONDS_MAX:
        missed.append("first byte of a workbook")
    print(f"  {'first byte after the request':34} {middle:9.1f} ms   (must be ≤ {FIRST_BYTE_MILLISECONDS_MAX})")
