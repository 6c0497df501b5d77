"""Headless Chromium by ChromeDriver: as much of the WebDriver protocol as tests need (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from pathlib import Path

from instance import Lines

# Chromium would call home otherwise; as root it has no sandbox.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
SECONDS = 60


class Browser:
    """One browser with one window. It takes any server certificate, as after "proceed anyway"."""

    def __init__(self, profile: Path):
        driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
        assert driver and chromium, "install Debian's packages chromium and chromium-driver"
        self._driver = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            started = Lines(self._driver.stdout).having("started successfully on port", seconds=SECONDS)
            self._port = int(started.rstrip(".").rpartition(" ")[2])
            options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"browserName": "chrome", "acceptInsecureCerts": True, "goog:chromeOptions": options}
            self._session = ""
            self._session = "/session/" + self._ask("POST", "/session", capabilities={"alwaysMatch": wanted})["sessionId"]
        except BaseException:
            self._driver.kill()
            raise

    def _ask(self, method: str, path: str, **body):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=SECONDS)
        try:
            payload = json.dumps(body).encode() if method == "POST" else None
            connection.request(method, self._session + path, payload, {"content-type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        assert answer.status == 200, value
        return value

    def open(self, url: str):
        self._ask("POST", "/url", url=url)

    def element(self, selector: str) -> str:
        found = self._ask("POST", "/element", using="css selector", value=selector)
        return f"/element/{found[ELEMENT]}"

    def type(self, selector: str, text: str):
        element = self.element(selector)
        self._ask("POST", f"{element}/clear")
        self._ask("POST", f"{element}/value", text=text)

    def click(self, selector: str):
        self._ask("POST", f"{self.element(selector)}/click")

    def text(self, selector: str) -> str:
        return self._ask("GET", f"{self.element(selector)}/text")

    def run(self, script: str, *arguments):
        """What an async function with this body returns in the page."""
        body = f"const done = arguments[arguments.length - 1]; (async (...a) => {{{script}}})(...arguments).then(done, e => done(String(e)));"
        return self._ask("POST", "/execute/async", script=body, args=list(arguments))

    def close(self):
        try:
            self._ask("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(SECONDS)
