"""Web pages of other origins in headless Chromium: the lab of the page that steers a device, and what browsers are told."""

from __future__ import annotations

import functools
import http.server
import subprocess
import sys
import threading

import pytest

from browser import Browser
from instance import eventually
from signed import https, trusting
from test_labs import LABS, blocks
from test_websocket import presigned_path

# A browser takes its time on a busy machine.
pytestmark = pytest.mark.timeout(240)
SECONDS = 60


class Pages:
    """Serves a folder from an origin of its own."""

    def __init__(self, folder):
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

        handler = functools.partial(Quiet, directory=folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.origin = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The lab's folder: its page and its program, as they stand in `docs/labs/browser.md`."""
    folder = tmp_path_factory.mktemp("lab")
    for kind, text in blocks(LABS / "browser.md"):
        if kind in ("html", "python"):
            name = text.split("\n")[0].strip("# <!->").strip()
            (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def pages(lab):
    """Two origins of the same page: one that is allowed, and one that is not."""
    both = Pages(lab), Pages(lab)
    yield both
    for one in both:
        one.close()


@pytest.fixture(scope="module")
def fleet(fleethaven, pages):
    return fleethaven("--cors-origin", f"https://app.example,{pages[0].origin}")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def lamp(fleet, lab):
    """The lab's device, after its commands."""
    host, port = fleet.mqtt_tls
    environment = {
        "PATH": f"{sys.exec_prefix}/bin:/usr/bin:/bin",
        "HOME": str(lab),
        "AWS_PROFILE": "fleethaven",
        "AWS_CONFIG_FILE": fleet.ready["aws_config_file"],
        "FLEETHAVEN_CA": fleet.ca_file,
        "FLEETHAVEN_HOST": host,
        "FLEETHAVEN_PORT": str(port),
    }
    for kind, text in blocks(LABS / "browser.md"):
        if kind == "sh":
            subprocess.run(["bash", "-e", "-c", text], env=environment, cwd=lab, check=True, timeout=120)
    process = subprocess.Popen([sys.executable, "lamp.py"], env=environment, cwd=lab)
    yield process
    process.kill()
    process.wait()


def begin(browser: Browser, fleet, page: str):
    browser.open(page)
    browser.type("#endpoint", fleet.ready["data_endpoint"])
    browser.type("#region", fleet.region)
    browser.type("#key", fleet.ready["access_key_id"])
    browser.type("#secret", fleet.ready["secret_access_key"])
    browser.click("#begin")


def shown(browser: Browser, selector: str, text: str):
    eventually(lambda: text in browser.text(selector), f"{text!r} in {selector}", SECONDS, pause=0.2)


def test_a_page_steers_a_device(browser, fleet, pages, lamp):
    allowed, stranger = pages
    begin(browser, fleet, f"{allowed.origin}/lamp.html")
    shown(browser, "#state", "off")
    browser.click("#switch")
    shown(browser, "#state", "on")
    browser.click("#switch")
    shown(browser, "#state", "off")
    # A page may read errors, too.
    browser.type("#secret", "wrong")
    shown(browser, "#trouble", "InvalidSignatureException")
    # Another origin is told nothing, though its keys are right.
    begin(browser, fleet, f"{stranger.origin}/lamp.html")
    shown(browser, "#trouble", "Failed to fetch")
    shown(browser, "#state", "unknown")


OPEN = """
const [url] = a;
return await new Promise(resolve => {
    const socket = new WebSocket(url, "mqtt");
    socket.onopen = () => { resolve(`opened ${socket.protocol}`); socket.close(); };
    socket.onerror = () => resolve("refused");
});
"""


def test_a_websocket_is_opened_by_pages_of_allowed_origins_only(browser, fleet, pages):
    for page, outcome in zip(pages, ("opened mqtt", "refused")):
        browser.open(f"{page.origin}/lamp.html")
        url = "wss://{}:{}".format(*fleet.https) + presigned_path(fleet)
        assert browser.run(OPEN, url) == outcome
    fleet.log.having("Connection.AuthNError", pages[1].origin)


def ask(fleet, origin: str, path: str, method: str = "GET"):
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
    return https(fleet.https, trusting(fleet), "OPTIONS", path, asked)


def test_browsers_are_told_of_the_data_plane_only(fleet, pages):
    told = ask(fleet, "https://app.example", "/things/any/shadow")
    assert told.status == 204 and told.headers["access-control-allow-origin"] == "https://app.example"
    assert told.headers["access-control-allow-headers"] == "authorization"
    for origin, path in ((pages[1].origin, "/things/any/shadow"), ("https://app.example", "/things/any")):
        told = ask(fleet, origin, path)
        assert told.status == 403 and "access-control-allow-origin" not in told.headers


def test_without_the_setting_there_is_no_cors(fleethaven):
    fleet = fleethaven()
    told = ask(fleet, "https://app.example", "/things/any/shadow")
    assert told.status >= 400 and "access-control-allow-origin" not in told.headers
