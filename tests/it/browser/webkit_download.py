"""Downloads $URL with WebKitGTK. Links $FILE to the file as soon as it grows. Succeeds if the browser keeps the file as
complete, and fails if it discards it. Needs a display and a message bus: `xvfb-run -a dbus-run-session python3`."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

# While a file is being downloaded, its name ends with this.
PARTIAL = ".wkdownload"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def call(port: int, path: str, body: dict | None = None) -> dict:
    """Sends a command of the WebDriver protocol (W3C WebDriver, section 6)."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return json.load(answer)["value"]


def wait_for(condition, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    sys.exit("timed out")


def is_ready(port: int) -> bool:
    try:
        return bool(call(port, "/status"))
    except OSError:
        return False


def download(port: int, browser: Path, folder: Path) -> bool:
    options = {"binary": str(browser), "args": ["--automation"]}
    capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
    session = call(port, "/session", {"capabilities": capabilities})["sessionId"]
    try:
        call(port, f"/session/{session}/url", {"url": os.environ["URL"]})
    except OSError:
        # A navigation that becomes a download may count as failed.
        pass
    found = wait_for(lambda: next((file for file in folder.iterdir() if file.stat().st_size), None))
    file = folder / found.name.removesuffix(PARTIAL)
    partial = folder / (file.name + PARTIAL)
    os.symlink(partial if partial.exists() else file, os.environ["FILE"])
    wait_for(lambda: not partial.exists(), 120.0)
    # Renamed if complete, removed otherwise.
    return file.exists()


def main() -> None:
    browser = next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        folder = Path(home, "downloads")
        folder.mkdir()
        Path(home, "user-dirs.dirs").write_text(f'XDG_DOWNLOAD_DIR="{folder}"\n')
        environment = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home}
        port = free_port()
        driver = subprocess.Popen(["WebKitWebDriver", f"--port={port}"], env=environment)
        try:
            wait_for(lambda: is_ready(port))
            kept = download(port, browser, folder)
        finally:
            driver.terminate()
            driver.wait()
    sys.exit(0 if kept else "the browser discarded the file")


main()
