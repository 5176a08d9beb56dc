"""Text in the figures can be read, in the light and in the dark: WCAG 2.2, criterion 1.4.3."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.book.test_pages import PAGES, address
from tests.book.test_sliders import browser, found

__all__ = ["address", "browser"]  # fixtures
LEAST, LEAST_LARGE = 4.5, 3.0  # 1.4.3; large is 24 px, or 18.66 px in bold
PADDING = 1  # px round a text, for a look at what is behind it

# The texts of a figure with their boxes within it and the size of their letters.
TEXTS = """
const figure = arguments[0], origin = figure.getBoundingClientRect();
const shown = (text) => text.textContent.trim() &&
  text.checkVisibility({opacityProperty: true, visibilityProperty: true});
return [...figure.querySelectorAll("text")].filter(shown)
  .map((text) => {
    const box = text.getBoundingClientRect(), style = getComputedStyle(text);
    return [text.textContent, box.left - origin.left, box.top - origin.top, box.width, box.height,
      parseFloat(style.fontSize), parseInt(style.fontWeight)];
  });
"""


def luminance(colours: np.ndarray) -> np.ndarray:
    """Relative luminance of colours (..., 3) of 0 to 255, as WCAG defines it."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen: np.ndarray = linear @ [0.2126, 0.7152, 0.0722]
    return seen


def contrast(pixels: np.ndarray) -> float:
    """Of the text in a cut-out (height, width, 3): its colour is the one that stands out most from
    the one that there is most of."""
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    seen = luminance(colours)
    behind = seen[counts.argmax()]
    ratios = (np.maximum(seen, behind) + 0.05) / (np.minimum(seen, behind) + 0.05)
    return float(ratios.max())


def pale(browser: Any, figure: Any) -> list[str]:
    """The texts of a figure that are too pale."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
    texts = browser.execute_script(TEXTS, figure)
    picture = np.asarray(Image.open(io.BytesIO(figure.screenshot_as_png)).convert("RGB"))
    scale = picture.shape[1] / figure.size["width"]
    found = []
    for text, left, top, width, height, size, weight in texts:
        x, y = max(0, left - PADDING) * scale, max(0, top - PADDING) * scale
        right, bottom = (left + width + PADDING) * scale, (top + height + PADDING) * scale
        pixels = picture[int(y) : int(bottom), int(x) : int(right)]
        large = size >= 24 or (size >= 18.66 and weight >= 700)
        if pixels.size and (ratio := contrast(pixels)) < (LEAST_LARGE if large else LEAST):
            found.append(f"{text} {ratio:.1f}")
    return found


@pytest.mark.parametrize(
    ("ink", "paper", "ratio"),
    [((0, 0, 0), (255, 255, 255), 21), ((119, 119, 119), (255, 255, 255), 4.48)],
)
def test_contrast_by_hand(ink: tuple[int, ...], paper: tuple[int, ...], ratio: float) -> None:
    pixels = np.full((4, 6, 3), paper)
    pixels[1, 1:3] = ink
    assert contrast(pixels) == pytest.approx(ratio, abs=0.005)


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest, browser: Any, address: str) -> str:
    browser.get(f"{address}/index.html")
    for key in ("mode", "theme"):
        browser.execute_script("localStorage.setItem(...arguments)", key, request.param)
    return str(request.param)


@pytest.mark.parametrize("name", PAGES)
def test_figures_can_be_read(name: str, theme: str, browser: Any, address: str) -> None:
    browser.get(f"{address}/{name}")
    if not browser.find_elements("css selector", ".plotly-figure, .live-figure"):
        return
    found(browser, ".plotly-figure svg.main-svg, .live-figure table")
    assert browser.execute_script("return document.documentElement.dataset.theme") == theme
    figures = browser.find_elements("css selector", ".plotly-figure, .live-figure")
    too_pale = {figure.get_attribute("id"): pale(browser, figure) for figure in figures}
    assert {name: texts for name, texts in too_pale.items() if texts} == {}
