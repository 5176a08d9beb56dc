"""Slides for lectures, cut from the pages of the book: what a chapter promises, its questions,
figures and formulas, and its summary. What the page says beside them becomes the speaker's notes.

A Sphinx extension that `_config.yml` names. After the HTML pages it writes `lectures/<name>.html`
for each entry of `lectures.yaml`, with reveal.js beside it, copied from the installed package
sphinx-revealjs. The figures are the pages' own and move as they do there.
"""

import shutil
from collections.abc import Iterator
from copy import copy
from html import escape
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from bs4 import BeautifulSoup, Tag
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LECTURES = Path(__file__).with_name("lectures.yaml")
# Of reveal.js, within the package that brings it; PLUGINS beside DIST.
DIST = (
    "reset.css",
    "reveal.css",
    "reveal.js",
    "theme/white.css",
    "theme/fonts",
)
PLUGINS = ("notes",)
NOT_SHOWN = ("Exercises", "Where the paper is silent", "Further reading")
SHOWN = "figure, .live-figure, div.math"
DECK = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="../_static/reveal/dist/reset.css">
<link rel="stylesheet" href="../_static/reveal/dist/reveal.css">
<link rel="stylesheet" href="../_static/reveal/dist/theme/white.css">
<link rel="stylesheet" href="../_static/face2exp.css">
<style>
.reveal {{ font-size: 24px; }}
.reveal :is(h1, h2) {{ text-transform: none; font-size: 1.6em; }}
.reveal :is(figcaption, .plotly-slider, footer) {{ font-size: 0.7em; }}
.reveal .live-figure {{ font-size: 0.85em; }}
.reveal .slides section {{ text-align: left; }}
.reveal .slides section:not(.stack) {{ max-height: 720px; overflow: hidden auto; }}
.reveal .figure-data {{ display: none; }}
.reveal .live-figure * {{ box-sizing: border-box; }}
</style>
{scripts}
</head>
<body>
<div class="reveal"><div class="slides">
{slides}
</div></div>
<script src="../_static/reveal/dist/reveal.js"></script>
<script src="../_static/reveal/plugin/notes/notes.js"></script>
<script>
Reveal.initialize({{hash: true, width: 1000, height: 720, margin: 0.03, center: false,
  plugins: [RevealNotes]}});
// A figure that was drawn where nobody saw it has no width yet, and some are higher than a slide.
const HIGHEST = 480;
const fit = ({{currentSlide}}) => currentSlide.querySelectorAll(".js-plotly-plot").forEach(
  (figure) => Plotly.relayout(figure, {{height: Math.min(figure.layout.height, HIGHEST)}})
    .then(() => Plotly.Plots.resize(figure)));
Reveal.on("slidechanged", fit);
Reveal.on("ready", fit);
</script>
</body>
</html>
"""


def read_lectures() -> list[dict[str, Any]]:
    """Name, title and pages with their minutes, of each."""
    lectures: list[dict[str, Any]] = yaml.safe_load(LECTURES.read_text())
    return lectures


def slide(*parts: str, notes: str = "") -> str:
    """One slide, of HTML."""
    aside = f'<aside class="notes">{escape(notes)}</aside>' if notes else ""
    return f"<section>{''.join(parts)}{aside}</section>"


def heading(section: Tag) -> str:
    """Of a section, without its number and its link."""
    title = section.find(["h1", "h2", "h3"])
    if not isinstance(title, Tag):
        return ""
    title = copy(title)
    for extra in title.select(".section-number, .headerlink"):
        extra.decompose()
    return title.get_text().strip()


def of_section(section: Tag) -> Iterator[str]:
    """The slides of a section: its questions and figures, one each, and before them its first
    formulas together."""
    title = f"<h2>{escape(heading(section))}</h2>"
    notes = "\n\n".join(
        p.get_text()
        for p in section.find_all("p")
        if not p.find_parent(["figure", "aside"])
    )
    shown = [
        part
        for part in section.select(SHOWN)
        if not part.find_parent(["figure", "details"])
    ]
    formulas = [
        part for part in shown if "math" in part.get_attribute_list("class")
    ]
    if formulas:
        yield slide(title, *map(str, formulas[:3]), notes=notes)
    for part in shown:
        if part not in formulas:
            # The output of a live figure holds its script, too.
            output = part.find_parent(class_="output")
            whole = part if part.name == "figure" or output is None else output
            yield slide(title, str(whole), notes=notes)


def of_chapter(page: BeautifulSoup, name: str) -> str:
    """The slides of a page, one below the other; its links lead to where they led."""
    chapter = page.select_one("article section")
    if chapter is None:
        raise ValueError("a page without a section")
    for extra in chapter.select("a.headerlink, .cell_input, .eqno"):
        extra.decompose()
    for link in chapter.select("a[href]"):
        target = str(link["href"])
        if target.startswith("#"):
            link["href"] = f"../book/{name}.html{target}"
        elif not target.startswith("../") and ":" not in target:
            link["href"] = f"../book/{target}"
    promise = [
        str(p)
        for p in chapter.find_all("p", recursive=False)
        if p.get_text().startswith(("You will", "You need"))
    ]
    made = [slide(f"<h1>{escape(heading(chapter))}</h1>", *promise)]
    for section in chapter.find_all("section", recursive=False):
        title = heading(section)
        if title == "Summary":
            parts = section.find_all(["ul", "p"], recursive=False)
            made.append(slide(f"<h2>{title}</h2>", *map(str, parts)))
        elif title not in NOT_SHOWN:
            made += of_section(section)
    return f"<section>{''.join(made)}</section>"


def deck(lecture: dict[str, Any], pages: list[BeautifulSoup]) -> str:
    """The slides of a lecture, a column for each of its pages."""
    scripts = {
        str(script): None
        for page in pages
        for script in page.find_all("script")
        if "MathJax" in script.get_text()
        or any(
            name in str(script.get("src", ""))
            for name in ("mathjax", "plotly.min")
        )
    }
    first = slide(
        f"<h1>{escape(lecture['title'])}</h1>",
        f"<p>{sum(lecture['pages'].values())} minutes</p>",
        "<footer>Right: the next chapter; down: the next slide of it; S: notes; Esc: all "
        "slides</footer>",
    )
    return DECK.format(
        title=escape(lecture["title"]),
        scripts="\n".join(scripts),
        slides="\n".join([first, *map(of_chapter, pages, lecture["pages"])]),
    )


def write_decks(app: "Sphinx", exception: Exception | None) -> None:
    """Write the decks and put reveal.js beside them."""
    if app.builder.name != "html" or exception is not None:
        return
    out = Path(app.outdir)
    reveal = out / "_static" / "reveal"
    with as_file(
        files("sphinx_revealjs") / "_static" / "revealjs"
    ) as installed:
        for part in (
            *(f"dist/{name}" for name in DIST),
            *(f"plugin/{name}" for name in PLUGINS),
        ):
            target = reveal / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if (installed / part).is_dir():
                shutil.copytree(installed / part, target, dirs_exist_ok=True)
            else:
                shutil.copyfile(installed / part, target)
    (out / "lectures").mkdir(exist_ok=True)
    for lecture in read_lectures():
        paths = [out / "book" / f"{name}.html" for name in lecture["pages"]]
        if missing := [path.stem for path in paths if not path.exists()]:
            logging.getLogger(__name__).warning(
                "lecture %s: no page %s", lecture["name"], ", ".join(missing)
            )
            continue
        pages = [
            BeautifulSoup(path.read_text(), "html.parser") for path in paths
        ]
        target = out / "lectures" / f"{lecture['name']}.html"
        target.write_text(deck(lecture, pages))


def setup(app: "Sphinx") -> dict[str, Any]:
    """Sphinx extension."""
    app.connect("build-finished", write_decks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
