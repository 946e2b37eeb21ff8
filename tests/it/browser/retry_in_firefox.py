"""Downloads a URL in Firefox, and presses Retry in its list of downloads as often as it fails. Arguments: the URL, the
folder of downloads, and the most presses. Prints the presses and the error, or null, as JSON."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time

from marionette_driver.errors import MarionetteException
from marionette_driver.marionette import Marionette

SECONDS_MAX = 120
# Firefox keeps the partial file of a failed download after the error has shown.
SETTLED_SECONDS = 1

# What the button of the list does is `start()`.
STATE = """
const { Downloads } = ChromeUtils.importESModule("resource://gre/modules/Downloads.sys.mjs");
return (async () => {
  const [download] = await (await Downloads.getList(Downloads.ALL)).getAll();
  if (!download) return null;
  if (arguments[0]) download.start().catch(() => {});
  const { succeeded, stopped, error } = download;
  return { succeeded, failed: stopped && !!error, error: error && error.message };
})();
"""

# Without these, Firefox asks questions and contacts its vendor.
PREFERENCES = {
    "browser.download.folderList": 2,
    "browser.download.always_ask_before_handling_new_types": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.safebrowsing.downloads.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "http://127.0.0.1:1/",
}


def main(url: str, folder: str, presses_max: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        preferences = {**PREFERENCES, "marionette.port": port, "browser.download.dir": folder}
        with open(f"{home}/user.js", "w") as file:
            file.writelines(f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in preferences.items())
        arguments = ["firefox-esr", "--headless", "--marionette", "-remote-allow-system-access", "--profile", home]
        firefox = subprocess.Popen(
            arguments,
            env={**os.environ, "HOME": home},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            print(json.dumps(download(connect(port), url, presses_max)))
        finally:
            firefox.terminate()
            firefox.wait()


def connect(port: int) -> Marionette:
    browser = Marionette("127.0.0.1", port=port)
    end = time.monotonic() + SECONDS_MAX
    while True:
        try:
            browser.start_session()
            return browser
        except (OSError, MarionetteException):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def download(browser: Marionette, url: str, presses_max: int) -> dict[str, object]:
    click = "const a = document.createElement('a'); a.href = arguments[0]; document.documentElement.append(a); a.click()"
    browser.navigate("about:blank")
    browser.execute_script(click, script_args=[url])
    browser.set_context("chrome")
    presses = 0
    while True:
        state = settled(browser)
        if state["succeeded"]:
            return {"presses": presses, "error": None}
        if presses == presses_max:
            return {"presses": presses, "error": state["error"]}
        presses += 1
        browser.execute_script(STATE, script_args=[True])


def settled(browser: Marionette) -> dict[str, object]:
    """Waits until the download has succeeded, or has failed."""
    end = time.monotonic() + SECONDS_MAX
    failed_at = None
    while time.monotonic() < end:
        state = browser.execute_script(STATE, script_args=[False])
        if state and state["succeeded"]:
            return state
        is_failed = bool(state and state["failed"])
        failed_at = (failed_at or time.monotonic()) if is_failed else None
        if failed_at and time.monotonic() - failed_at > SETTLED_SECONDS:
            return state
        time.sleep(0.05)
    raise TimeoutError(f"the download does not end: {state}")


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
