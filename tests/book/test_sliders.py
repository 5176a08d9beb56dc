"""Every slider of the pages, moved by the keyboard, moves its figure; live figures compute what the
library does."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from face2exp_lib.methods.feedback import feedback_coefficient
from tests.book.conftest import ROOT
from tests.book.test_pages import CHAPTERS, CHROMIUM, PAGES, address

__all__ = ["address"]  # a fixture
selenium: Any = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
DRIVER = shutil.which("chromedriver")
WAIT_S = 10.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if DRIVER is None or CHROMIUM is None:
        if os.environ.get("FACE2EXP_REQUIRE_BROWSER"):
            pytest.fail("FACE2EXP_REQUIRE_BROWSER is set and there is no chromedriver")
        pytest.skip("needs chromedriver (Debian: apt-get install chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    with tempfile.TemporaryDirectory() as profile:
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--window-size=1300,1000",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        service = selenium.ChromeService(executable_path=DRIVER)
        driver = selenium.Chrome(options=options, service=service)
        yield driver
        driver.quit()


def drawn(browser: Any, figure: Any) -> str:
    """What a figure shows, without ids that plotly draws anew."""
    inside = browser.execute_script("return arguments[0].innerHTML", figure)
    return re.sub(r"(id|clip-path)=\"[^\"]*\"", "", inside)


def changes(browser: Any, figure: Any, before: str) -> bool:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if drawn(browser, figure) != before:
            return True
        time.sleep(0.05)
    return False


def found(browser: Any, selector: str) -> list[Any]:
    """What fits a selector, as soon as the page's scripts have made some; a browser that has just
    started takes a moment."""
    end = time.monotonic() + WAIT_S
    while not (elements := browser.find_elements("css selector", selector)):
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    return list(elements)


@pytest.mark.parametrize("name", [page for page in CHAPTERS if "status" not in page])
def test_every_slider_moves_its_figure(name: str, browser: Any, address: str) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{address}/{name}")
    inputs = found(browser, ".plotly-slider input")
    assert inputs
    for slider in inputs:
        figure = browser.find_element("id", slider.get_attribute("id").partition("-slider-")[0])
        end = time.monotonic() + WAIT_S
        while not figure.find_elements("css selector", "svg.main-svg") and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        before = drawn(browser, figure)
        at_end = slider.get_attribute("value") == slider.get_attribute("max")
        label = slider.get_attribute("aria-valuetext")
        slider.send_keys(Keys.ARROW_LEFT if at_end else Keys.ARROW_RIGHT)
        assert changes(browser, figure, before), f"{slider.get_attribute('id')} moves nothing"
        assert slider.get_attribute("aria-valuetext") != label
        numbers = browser.find_elements(
            "css selector", f"#{figure.get_attribute('id')}-numbers > div"
        )
        if numbers:  # of pictures there are none
            shown = [not table.get_attribute("hidden") for table in numbers]
            assert shown == [i == int(slider.get_attribute("value")) for i in range(len(numbers))]


@pytest.fixture
def phone(browser: Any) -> Iterator[Any]:
    """The browser, 390 px wide."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# What is drawn beyond the right edge, unless something around it scrolls.
CUT = """
const edge = document.documentElement.clientWidth + 1, scrolls = (element) =>
  element && element.tagName !== "ARTICLE" &&
  (/auto|scroll/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
return [...document.querySelectorAll("article :is(mjx-container, table, pre, svg, img)")]
  .filter((element) => element.getBoundingClientRect().right > edge && !scrolls(element))
  .map((element) => element.tagName + " " + element.textContent.slice(0, 60));
"""


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_shows_the_page_without_scrolling_sideways(
    name: str, phone: Any, address: str
) -> None:
    phone.get(f"{address}/{name}")
    time.sleep(0.5)
    assert phone.execute_script("return document.documentElement.scrollWidth") <= 391
    assert phone.execute_script(CUT) == []


# What scrolls sideways, or would have to, on a desktop.
SCROLLS = """
const wide = (element) => element && element.tagName !== "ARTICLE" &&
  ((element.clientWidth && element.scrollWidth > element.clientWidth + 1 &&
    getComputedStyle(element).overflowX !== "visible") || wide(element.parentElement));
return [...document.querySelectorAll("article :is(table, pre)")]
  .filter((element) => element.checkVisibility() && !element.closest("details") && wide(element))
  .map((element) => element.tagName + " " + element.textContent.slice(0, 60));
"""


@pytest.mark.parametrize("name", PAGES)
def test_a_desktop_shows_every_line_of_code_output_and_table(
    name: str, browser: Any, address: str
) -> None:
    browser.get(f"{address}/{name}")
    time.sleep(0.5)
    assert browser.execute_script(SCROLLS) == []
    assert browser.execute_script(CUT) == []


@pytest.mark.parametrize(("name", "number"), [("augment", 3), ("playground", 1)])
def test_pictures_fill_their_figures_on_a_phone(
    name: str, number: int, phone: Any, address: str
) -> None:
    phone.get(f"{address}/book/{name}.html")
    time.sleep(1)
    heights = phone.execute_script(
        """return [...document.querySelectorAll(".plotly-figure:has(.im image)")]
        .map(figure => [figure, figure.querySelector(".im image")]
            .map(element => element.getBoundingClientRect().height));"""
    )
    assert len(heights) == number
    for figure, picture in heights:
        assert 0.6 * figure < picture < figure


LIVE = ("index", "derive_feedback", "evaluate", "watch_the_bias")


@pytest.mark.parametrize("name", LIVE)
def test_every_input_of_a_live_figure_changes_what_it_says(
    name: str, browser: Any, address: str
) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{address}/book/{name}.html")
    moved = 0
    for figure in found(browser, ".live-figure"):
        inputs = figure.find_elements("css selector", "input[type=range]")
        moved += len(inputs)  # a quiz has none
        for number, slider in enumerate(inputs):
            before = browser.execute_script("return arguments[0].textContent", figure)
            slider.send_keys(Keys.ARROW_LEFT if number % 2 else Keys.ARROW_RIGHT)
            assert browser.execute_script("return arguments[0].textContent", figure) != before
    assert moved


def moved_to(browser: Any, figure: Any, number: int, value: float) -> float:
    """Set an input as a hand would; what the browser rounded it to."""
    return float(
        browser.execute_script(
            """const input = arguments[0].querySelectorAll("input")[arguments[1]];
            input.value = arguments[2];
            input.dispatchEvent(new Event("input"));
            return input.valueAsNumber;""",
            figure,
            number,
            value,
        )
    )


@pytest.mark.parametrize("place", [(0.0, 0.0, -0.4), (-1.2, 0.6, 0.3), (0.8, -1.6, -2.0)])
def test_the_loss_surface_computes_what_the_library_does(
    browser: Any, address: str, place: tuple[float, float, float]
) -> None:
    import torch
    import torch.nn.functional as F

    browser.get(f"{address}/book/derive_feedback.html")
    figure, *_ = found(browser, ".live-figure")
    w_0, w_1, log_eta = (moved_to(browser, figure, i, value) for i, value in enumerate(place))
    cells = figure.find_elements("css selector", "td:nth-child(2)")
    shown = [float(cell.text.replace("\N{MINUS SIGN}", "-")) for cell in cells]

    faces, labels = torch.tensor([[3.0, 1.0], [1.0, 1.0]]).double(), torch.tensor([0, 1])
    eta, w = 10**log_eta, torch.tensor([w_0, w_1], dtype=torch.float64, requires_grad=True)
    unlabelled = F.cross_entropy(w * torch.tensor([1.0, 2.0]), torch.tensor(0))
    (grad_u,) = torch.autograd.grad(unlabelled, [w])
    before = F.cross_entropy(w * faces, labels)
    (old,) = torch.autograd.grad(before, [w])
    moved = (w - eta * grad_u).detach().requires_grad_()
    after = F.cross_entropy(moved * faces, labels)
    (new,) = torch.autograd.grad(after, [moved])
    f, earlier = (feedback_coefficient((grad,), (grad_u,), eta).item() for grad in (new, old))
    expected = [(before - after).item(), f, earlier, (f + earlier) / 2]
    assert shown == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    ("step", "log_ratio", "distance"), [(1, 1.5, 1.2), (40, 2, 2), (200, 0, 2)]
)
def test_a_collapse_is_trained_as_numpy_trains_it(
    browser: Any, address: str, step: int, log_ratio: float, distance: float
) -> None:
    browser.get(f"{address}/book/watch_the_bias.html")
    figure = next(
        f for f in found(browser, ".live-figure") if "right" in f.text and "said" in f.text
    )
    browser.execute_script("arguments[0].scrollIntoView()", figure)
    for number, value in enumerate((step, log_ratio, distance)):
        moved_to(browser, figure, number, value)
    rows = figure.find_elements("css selector", "tr:has(td)")
    shown = [[c.text for c in row.find_elements("css selector", "td")] for row in rows]

    k, m = 3, 120
    angles = np.pi / 2 + 2 * np.pi * np.arange(k) / k
    centres = distance * np.stack([np.cos(angles), np.sin(angles)], 1)
    points = np.random.default_rng(0).normal(size=(k, m, 2)).round(3) + centres[:, None]
    points = np.concatenate([0.2 * points, np.ones((k, m, 1))], 2)
    counts = np.round(m * (10.0**log_ratio) ** (-np.arange(k) / (k - 1))).astype(int)
    x = np.concatenate([of[:n] for of, n in zip(points, counts, strict=True)])
    y = np.eye(k)[np.repeat(np.arange(k), counts)]
    w = np.zeros((3, k))
    for _ in range(step):
        p = np.exp(x @ w)
        w -= 3 * x.T @ (p / p.sum(1, keepdims=True) - y) / len(x)
    named = (points @ w).argmax(2)
    said = [100 * np.mean(named == c) for c in range(k)]
    right = [100 * np.mean(named[c] == c) for c in range(k)]
    for row, n, often, rightly in zip(shown, counts, said, right, strict=True):
        assert row[0] == str(n)
        assert float(row[1].split()[0]) == pytest.approx(often, abs=0.51)
        assert float(row[3].split()[0]) == pytest.approx(rightly, abs=0.51)


def test_a_balanced_test_part_has_one_accuracy(browser: Any, address: str) -> None:
    browser.get(f"{address}/book/evaluate.html")
    figure, *_ = found(browser, ".live-figure")

    def columns() -> list[list[str]]:
        rows = figure.find_elements("css selector", "tr:has(td)")
        texts = [[c.text for c in row.find_elements("css selector", "td")] for row in rows]
        return [[row[i] for row in texts] for i in (0, 2)]

    overall, mean = columns()
    assert overall == mean
    figure.find_elements("css selector", "button")[-1].click()
    skewed, still = columns()
    assert still == mean
    assert skewed != mean


def test_a_page_marks_its_question(browser: Any, address: str) -> None:
    browser.get(f"{address}/book/released_code.html")
    figure, *_ = found(browser, ".live-figure")
    marks = []
    for answer in figure.find_elements("css selector", "label"):
        answer.click()
        told = figure.find_element("css selector", "[aria-live]").text
        marks.append(told[0])
        assert len(told) > 10
    assert sorted(marks) == ["\N{CHECK MARK}", *["\N{BALLOT X}"] * 2]


def test_names_in_the_place_of_b_get_their_f(browser: Any, address: str) -> None:
    from face2exp_lib.runtime.storage import read_json

    browser.get(f"{address}/book/two_networks.html")
    figure, *_ = found(browser, ".live-figure")
    stored = read_json(ROOT / "results" / "first_page" / "you_are_b.json")["figure"]

    def told() -> float:
        cell = figure.find_element("css selector", "td")
        return float(cell.text.replace("\N{MINUS SIGN}", "-"))

    def f(names: list[int]) -> float:
        products = (row[name] for row, name in zip(stored["products"], names, strict=True))
        return float(stored["eta_a"] * sum(products) / len(names))

    _, neutral, network, truth = figure.find_elements("css selector", "button")
    for button, names in (
        (neutral, [0] * len(stored["truth"])),
        (network, stored["network"]),
        (truth, stored["truth"]),
    ):
        button.click()
        assert told() == pytest.approx(f(names), abs=6e-5)
    select = figure.find_elements("css selector", "select")[0]
    select.find_elements("css selector", "option")[-1].click()
    assert told() == pytest.approx(f([6, *stored["truth"][1:]]), abs=6e-5)


def test_a_smile_moves_the_bars_of_the_first_page(browser: Any, address: str) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{address}/book/index.html")
    figure, *_ = found(browser, ".live-figure")
    (slider,) = figure.find_elements("css selector", "input")
    told = figure.find_element("css selector", "[aria-live]")
    assert told.text == "The network says happy."
    slider.send_keys(Keys.HOME)
    assert told.text != "The network says happy."


def test_a_table_is_sorted_by_the_head_that_is_pressed(browser: Any, address: str) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{address}/book/evaluate.html")
    table, *_ = found(browser, "table.dataframe")
    heads = table.find_elements("css selector", "thead th")

    def column(number: int) -> list[str]:
        rows = table.find_elements("css selector", "tbody tr")
        return [row.find_elements("css selector", "th, td")[number].text for row in rows]

    def means() -> list[float]:
        return [float(text.split()[0]) for text in column(1)]

    as_stored = means()
    for way, expected in (
        ("ascending", sorted(as_stored)),
        ("descending", sorted(as_stored, reverse=True)),
    ):
        heads[1].find_element("css selector", "button").send_keys(Keys.ENTER)
        assert means() == expected != as_stored
        assert heads[1].get_attribute("aria-sort") == way
    for _ in range(2):  # signed numbers; the reference, which has none, stays last
        heads[3].find_element("css selector", "button").click()
        *less, reference = column(3)
        assert reference == ""
    assert [float(text.split()[0]) for text in less] == sorted(
        (float(text.split()[0]) for text in less), reverse=True
    )
    assert heads[1].get_attribute("aria-sort") is None
