"""The page of a run in a real browser: headless Chromium, driven over WebDriver, which is JSON over HTTP."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chainkit.cli import main
from chainkit.evaluation import number
from chainkit.host import load_plugins
from chainkit.recipe import find_recipe
from chainkit.reporting import Reporter
from chainkit.session import Session, new_run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed (apt-get install chromium chromium-driver)"
)
PATIENCE = 180
"""Seconds after which a browser that does not answer is given up."""

SETTINGS = [
    "train.epochs=1",
    "train.max_updates=4",
    "sample.n=16",
    "sample.every=1",
    "validate.examples=20",
    "evaluate.examples=20",
    'evaluate.estimators=[{ type = "lower-bound", walks = 3 }, { type = "importance", walks = 20 }, { type = "factorial" }]',
]


class Quiet(Reporter):
    def say(self, line):
        pass


class Browser:
    """A session of a driver."""

    def __init__(self, address):
        self.address = address
        options = {"binary": CHROMIUM, "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}
        self.session = self._post("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _post(self, path, content):
        request = urllib.request.Request(self.address + path, json.dumps(content).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]

    def do(self, path, **content):
        return self._post(f"/session/{self.session}{path}", content)

    def run(self, script, *arguments):
        return self.do("/execute/sync", script=script, args=list(arguments))

    def devtools(self, command, **parameters):
        return self.do("/goog/cdp/execute", cmd=command, params=parameters)

    def press(self, key):
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.do("/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def requests(self):
        """The addresses that were asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.do("/se/log", type="performance")]
        return [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def browser():
    with subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, text=True) as driver:
        try:
            ports = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout or ())
            opened = Browser(f"http://127.0.0.1:{next(port for port in ports if port)[1]}")
            yield opened
            request = urllib.request.Request(f"{opened.address}/session/{opened.session}", method="DELETE")
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        finally:
            driver.terminate()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the digits, with its report."""
    host, path = load_plugins(strict=True), tmp_path_factory.mktemp("report") / "run"
    made = new_run(find_recipe("infusion_digits", host), path, host, overrides=SETTINGS, reporter=Quiet())
    Session(made).complete()
    assert main(["report", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def served(run):
    """The address of the report on a server that remembers what it is asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format, *words):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(run)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/report.html", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser, served):
    """The report, opened anew on a laptop's screen."""
    browser.devtools("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
    browser.do("/url", url=served[0])
    return browser


def test_the_page_shows_the_numbers_of_the_evaluation(page, run):
    rows = page.run("return [...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.innerText))")
    records = json.loads((run / "evaluation.json").read_text())
    assert [record["name"] for record in records] == ["lower bound", "importance sampling", "factorial baseline"]
    for record in records:
        (row,) = [row for row in rows if row[0].startswith(record["name"])]
        assert row[1] == f"{number(record['value'])} {record['unit']}"
        assert row[2] == number(record["error_examples"])
        assert row[4] == f"{record['bits_per_dim']:.3f}"
    assert rows[1][5].startswith(f"{records[1]['effective']:.1f} of 20, at least ")


def test_every_picture_is_loaded_and_has_a_size(page, run):
    page.run("document.querySelectorAll('details').forEach(part => part.open = true)")
    found = page.run(
        "return [...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight, i.getBoundingClientRect().width, i.alt])"
    )
    assert len(found) == len(list((run / "pictures").glob("*.png"))) >= 5
    assert all(complete and min(natural, height, shown) > 0 for complete, natural, height, shown, _ in found)
    assert found[0][4].startswith("16 samples that a chain of 10 steps drew, imitating digits")
    assert len({alt for *_, alt in found}) == len(found)


def test_no_request_leaves_the_page(browser, served):
    address, asked = served
    browser.requests()
    asked.clear()
    browser.do("/url", url=address)
    assert browser.run("return document.readyState") == "complete"
    wanted = browser.requests()
    assert address in wanted
    assert {url for url in wanted if not url.startswith("data:")} == {address}
    assert asked == ["/report.html"]
    assert [entry["message"] for entry in browser.do("/se/log", type="browser")] == []


def test_it_fits_a_phone(page):
    page.devtools("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    page.run("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.run("return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    assert page.run("return Math.max(...[...document.images].map(i => i.getBoundingClientRect().right))") <= 360
    assert page.run("return parseFloat(getComputedStyle(document.querySelector('td')).fontSize)") >= 14


def test_it_is_used_with_the_keyboard_alone(page):
    page.press("\ue004")
    assert page.run("return document.activeElement.textContent") == "Skip to the content"
    assert page.run("return document.activeElement.getBoundingClientRect().left") >= 0
    page.press("\ue007")
    assert page.run("return location.hash") == "#content"
    summary = "document.activeElement.tagName === 'SUMMARY'"
    reached = [page.press("\ue004") or page.run(f"return {summary}") for _ in range(8)]
    assert any(reached)
    page.run("document.querySelector('summary').focus()")
    page.press("\ue007")
    assert page.run("return document.querySelector('details').open") is True


def test_a_screen_reader_is_told_what_there_is(page):
    nodes = page.devtools("Accessibility.getFullAXTree")["nodes"]

    def names(role):
        found = [node for node in nodes if node.get("role", {}).get("value") == role and not node.get("ignored")]
        return [node.get("name", {}).get("value", "") for node in found]

    assert names("heading")[:3] == ["Infusion training on 8x8 digits", "Pictures", "Evaluation"]
    assert len(names("image")) >= 4
    assert all(len(name) > 20 for name in names("image"))
    assert names("table")[0].startswith("On 20 test examples, weights of update 4")
    assert all(names("region"))
    assert "Sections" in names("navigation")
    assert len(names("main")) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(scheme, page):
    page.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    colours = page.run(
        "return ['body', 'a[href=\"#evaluation\"]', 'small', 'caption', 'figcaption'].map(name =>"
        " [getComputedStyle(document.querySelector(name)).color, getComputedStyle(document.body).backgroundColor])"
    )

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for text, ground in colours:
        bright, dim = sorted((luminance(text), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5  # WCAG 2.1, 1.4.3
