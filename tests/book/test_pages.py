"""What a reader's browser makes of each page, with no network behind it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from bs4 import BeautifulSoup, Tag

from book.slides import read_lectures
from tests.book.conftest import ROOT

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
TIMEOUT_S = 120
LARGEST_PAGE = 2_500_000  # bytes with its pictures

# Chatter of the theme; whatever else the console says is a fault.
HARMLESS = re.compile(r'"(\[PST\]|\[togglebutton\]|Got invalid theme mode)')

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [
    re.sub(r"\.(md|ipynb)$", "", name) + ".html"
    for name in (
        TOC["root"],
        *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]),
    )
]

DECKS = [f"lectures/{lecture['name']}.html" for lecture in read_lectures()]


@dataclass
class Page:
    """A page after its scripts have run."""

    written: BeautifulSoup  # as the build wrote it
    drawn: BeautifulSoup  # as the browser shows it
    console: list[str]
    requests: list[str]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def address(html: Path) -> Iterator[str]:
    if CHROMIUM is None:
        if os.environ.get("FACE2EXP_REQUIRE_BROWSER"):
            pytest.fail("FACE2EXP_REQUIRE_BROWSER is set and there is no Chromium")
        pytest.skip("needs Chromium (Debian and Ubuntu: apt-get install chromium)")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=html)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session", params=[*PAGES, *DECKS])
def page(
    request: pytest.FixtureRequest,
    address: str,
    html: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Page:
    home = tmp_path_factory.mktemp("chromium")
    log = home / "net.json"
    result = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",  # a container's root has none
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the network is off
            "--window-size=1300,1000",
            f"--user-data-dir={home / 'profile'}",
            f"--log-net-log={log}",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",  # ms for the page's clock; it waits for requests
            "--dump-dom",
            f"{address}/{request.param}",
        ],
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    net = json.loads(log.read_text())
    start = net["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    jobs = [event.get("params", {}) for event in net["events"] if event["type"] == start]
    return Page(
        written=BeautifulSoup((html / request.param).read_text(), "html.parser"),
        drawn=BeautifulSoup(result.stdout, "html.parser"),
        console=re.findall(r"CONSOLE.*", result.stderr),
        # The page's own; what Chromium asks for itself comes from no page.
        requests=[job["url"] for job in jobs if job.get("initiator") == address],
    )


def figures(soup: BeautifulSoup) -> list[Tag]:
    return soup.select("div.plotly-figure")


def test_each_figure_is_drawn_with_marks(page: Page) -> None:
    drawn = figures(page.drawn)
    assert [div["id"] for div in drawn] == [div["id"] for div in figures(page.written)]
    for div in drawn:
        assert div.select_one("svg.main-svg"), f"{div['id']} is empty"
        marks = div.select(".mlayer path, .mlayer image, .slice path")
        assert marks, f"{div['id']} has axes and nothing in them"


def test_each_picture_says_in_words_what_it_shows(page: Page) -> None:
    words = [div.get("aria-label") for div in figures(page.drawn)]
    words += [image.get("alt") for image in page.drawn.select("article img")]
    assert all(words)


def test_each_input_has_a_name(page: Page) -> None:
    for field in page.drawn.select("article :is(input, select)"):
        label = field.find_parent("label")
        texts = label.find_all(string=True) if label else []
        words = [text for text in texts if text.strip() and not text.find_parent("output")]
        assert words or field.get("aria-label"), field


def test_formulas_are_typeset(page: Page) -> None:
    for formula in page.drawn.select(".math"):
        assert formula.select_one("mjx-container"), f"not typeset: {formula.get_text()}"
    assert not page.drawn.select("mjx-merror"), "MathJax did not understand a formula"
    for part in page.drawn.select("script, style, pre, code, mjx-container"):
        part.decompose()
    raw = re.search(r"\\[(\[]|\$\$|\\[a-z]+\{", page.drawn.get_text())
    assert raw is None, f"raw TeX: {raw and raw.string[raw.start() - 20 : raw.end() + 40]}"


def test_console_is_quiet(page: Page) -> None:
    assert [line for line in page.console if not HARMLESS.search(line)] == []


def test_page_asks_for_nothing_outside(page: Page, address: str) -> None:
    assert page.requests, "the request log is empty"
    assert [url for url in page.requests if not url.startswith((f"{address}/", "data:"))] == []


CHAPTERS = [
    page for page in PAGES if page != PAGES[0] and (ROOT / page).with_suffix(".ipynb").exists()
]


@pytest.mark.parametrize("name", [page for page in CHAPTERS if "status" not in page])
def test_every_chapter_has_a_figure_that_moves(name: str, html: Path) -> None:
    chapter = BeautifulSoup((html / name).read_text(), "html.parser")
    assert figures(chapter)
    assert chapter.select(".plotly-slider input[type=range]")


@pytest.mark.parametrize("name", PAGES)
def test_each_page_offers_its_notebook_and_its_text(name: str, html: Path) -> None:
    page = html / name
    links = BeautifulSoup(page.read_text(), "html.parser").select("a.btn-download-source-button")
    links += BeautifulSoup(page.read_text(), "html.parser").select("a.btn-download-text-button")
    files = {path.suffix: path for link in links if (path := page.parent / str(link["href"]))}
    assert files.keys() == ({".ipynb", ".md"} if name in CHAPTERS else {".md"})
    assert {path.stem for path in files.values()} == {page.stem}
    if name in CHAPTERS:
        assert json.loads(files[".ipynb"].read_text())["nbformat"] == 4
        assert files[".md"].read_text().startswith("---\njupytext:")
    else:
        assert files[".md"].read_text()


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_light(name: str, html: Path) -> None:
    page = html / name
    pictures = BeautifulSoup(page.read_text(), "html.parser").select("article img[src]")
    local = {page.parent / str(picture["src"]) for picture in pictures}
    assert page.stat().st_size + sum(path.stat().st_size for path in local) < LARGEST_PAGE


def test_numbers_stand_below_the_figures(html: Path) -> None:
    """Of every figure but pictures: a table, folded away."""
    page = BeautifulSoup((html / "book/derive_feedback.html").read_text(), "html.parser")
    signs, turned = page.select("details.figure-data")
    assert "trapezoid" in signs.get_text()
    assert "gradient on FR" in turned.get_text()
    assert signs.select("table td")
    assert turned.select("table td")


def test_the_reference_says_nothing_twice(html: Path) -> None:
    text = BeautifulSoup((html / "book/api.html").read_text(), "html.parser").get_text()
    assert "Skipped" in text  # a named tuple
    assert "Alias for field" not in text


def test_the_playground_has_no_dead_widget(html: Path) -> None:
    path = html / "book/playground.html"
    page = BeautifulSoup(path.read_text(), "html.parser")
    assert "Playground(read)" in page.get_text()
    assert not re.findall(r"widget-(?:state|view)|jupyter-widgets", path.read_text())
    (slider,) = page.select(".plotly-slider input")
    assert slider["max"] == "4"
