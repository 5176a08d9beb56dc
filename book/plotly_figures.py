"""What the book asks of Sphinx: plotly figures and formulas that need no network.

A Sphinx extension that `_config.yml` names. It turns the `application/vnd.plotly.v1+json` that a
bare plotly figure stores into a drawn figure, so notebooks need no renderer of their own and stay
small, and puts plotly.js and MathJax beside the pages, copied from the installed packages.

Below each figure the page has what plotly does not offer: its sliders as inputs of the browser,
which a keyboard, a screen reader and a thumb can move, and its numbers as a table. Tables of
results are sorted by their heads, and beside each notebook the text that it is paired with can be
downloaded.

A figure's alternative text is owed, and is given with its caption in the cell's metadata:

    mystnb:
      figure: {name: fig-feedback, caption: What moves what.}
      image: {alt: What one would see.}
"""

import base64
import html
import json
import shutil
from collections import namedtuple
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from docutils import nodes

if TYPE_CHECKING:
    from myst_nb.core.render import MimeData, NbElementRenderer
    from sphinx.application import Sphinx
    from sphinx.config import Config

MIME_TYPE = "application/vnd.plotly.v1+json"

# Of MathJax's 24 MB: TeX in, HTML with its own fonts out, and what TeX may load on demand.
MATHJAX_PARTS = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts")

# Without buttons, which lie over titles and are too small for a thumb; dragging zooms, a double
# click shows all again.
CONFIG = {"displayModeBar": False, "responsive": True}

# `</script>` or `<!--` inside a label would end or comment out the script: no `<` is left in it.
DRAWN_FIGURE = """\
<div id="{id}" class="plotly-figure" role="figure" aria-label="{alt}"></div>
{inputs}{table}<script>
document.addEventListener("DOMContentLoaded", () => {{
  const figure = {figure};
  // A picture keeps its shape, so in a narrow page it needs less height.
  const {{meta, margin}} = figure.layout;
  if (meta?.picture) {{
    const width = document.getElementById("{id}").clientWidth - margin.l - margin.r;
    const height = Math.round(width * meta.picture + margin.t + margin.b);
    figure.layout.height = Math.min(figure.layout.height, height);
  }}
  const drawn = Plotly.newPlot("{id}", figure);
  const sliders = {sliders};
  sliders.forEach((steps, number) => {{
    const input = document.getElementById("{id}-slider-" + number);
    const tables = document.querySelectorAll("#{id}-numbers > div");
    input.addEventListener("input", () => drawn.then(() => {{
      const step = steps[input.valueAsNumber];
      tables.forEach((table, state) => {{ table.hidden = state !== input.valueAsNumber; }});
      input.nextElementSibling.textContent = step.label;
      input.setAttribute("aria-valuetext", step.label);
      return Plotly[step.method]("{id}", ...step.args);
    }}));
  }});
}});
</script>
"""
SLIDER_INPUT = """\
<label class="plotly-slider">{prefix}
<input type="range" {named}id="{id}-slider-{number}" min="0" max="{last}" value="{active}"
aria-valuetext="{label}"><output>{label}</output></label>
"""
DATA_TABLE = """<details class="figure-data"><summary>The numbers of this figure</summary>
<div class="table-wrapper" id="{id}-numbers">{tables}</div></details>
"""
STYLE = """\
/* the reference's names of types are longer than a phone is wide */
dl.py :is(dt, dd, p, em, code, .pre, li) {
  overflow-wrap: anywhere; white-space: normal; min-width: 0;
}
figure figcaption * { color: var(--pst-color-text-base) !important; font-weight: 400; }
.plotly-slider { display: flex; gap: 0.6em; align-items: center; flex-wrap: wrap; }
.plotly-slider input { flex: 1 1 12em; }
.figure-data { font-size: 0.85em; margin-bottom: 1em; }
.figure-data .table-wrapper { max-height: 20em; overflow: auto; }
.figure-data table { border-collapse: collapse; margin: 0.5em 0; }
.figure-data th, .figure-data td { padding: 0 0.6em; text-align: right; }
html[data-theme="dark"] .plotly-figure { filter: invert(0.88) hue-rotate(180deg); }
html[data-theme="dark"] .plotly-figure image:not(.hm image) {
  filter: invert(1) hue-rotate(180deg);
}
/* the theme frames HTML outputs in the light that other people's are made for */
html[data-theme="dark"] .bd-content div.cell_output .text_html {
  background: transparent !important; padding: 0 !important; color: inherit !important;
}
.text_html:has(> table.dataframe) { overflow-x: auto; }
table.dataframe { font-size: 0.85em; }
table.dataframe td:not(.words) { white-space: nowrap; }
table.dataframe th button { all: unset; cursor: pointer; }
table.dataframe th button:focus-visible { outline: 2px solid; }
table.dataframe th[aria-sort="ascending"] button::after { content: " \u25b2"; }
table.dataframe th[aria-sort="descending"] button::after { content: " \u25bc"; }
.bd-article :is(h2, h3, dt) { overflow-wrap: anywhere; }
.bd-article table.table { font-size: 0.85em; }
.bd-article table.table:has(th:nth-child(9)) { font-size: 0.7em; }
.bd-article table.table :is(td, th) { padding: 0.3em 0.45em; }
.bd-article pre { font-size: 0.8em; white-space: pre-wrap; overflow-wrap: anywhere; }
.bd-article table td:has(code) { min-width: 10em; }
.bd-article table :is(code, code .pre) { overflow-wrap: anywhere; white-space: normal; }
@media print {
  .figure-data, .plotly-slider, .copybtn { display: none; }
  .plotly-figure, figure { break-inside: avoid; }
  pre { white-space: pre-wrap !important; }
  h1 { break-before: page; }
}
"""
# A click on a head sorts by its column, a second one the other way; empty cells stay last. A cell
# counts by the number that it begins with, `69.9 ± 2.6` and `+0.6 [-0.7, +1.9]` too.
SORT = """\
document.addEventListener("DOMContentLoaded", () => {
  const number = (text) => parseFloat(text.replaceAll(",", "").replace("\u2212", "-"));
  const compare = (a, b) => number(a) - number(b) || a.localeCompare(b);
  for (const table of document.querySelectorAll("table.dataframe")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
        const text = (row) => row.cells[column].textContent.trim();
        const rows = [...table.tBodies[0].rows];
        const full = rows.filter(text).sort((a, b) => sign * compare(text(a), text(b)));
        table.tBodies[0].append(...full, ...rows.filter((row) => !text(row)));
      });
    });
  }
});
"""
TUPLE_FIELD = type(vars(namedtuple("OfOneField", "field"))["field"])
MOST_ROWS = 60  # of a table; of a longer series every so many rows


class PlotlyRenderer:
    """Renderer of a mime type, as MyST-NB calls it."""

    mime_priority_overrides: ClassVar = [
        ("html", MIME_TYPE, 1),
        ("singlehtml", MIME_TYPE, 1),
    ]

    @staticmethod
    def handle_mime(
        renderer: "NbElementRenderer", data: "MimeData", inline: bool
    ) -> list[nodes.Element] | None:
        """The figure as an HTML node, or None for other mime types."""
        if inline or data.mime_type != MIME_TYPE:
            return None
        options = data.cell_metadata.get("mystnb", {})
        alt = options.get("image", {}).get("alt")
        if not alt:
            renderer.logger.warning(
                "plotly figure without alternative text: give its cell mystnb: {image: {alt: ...}}",
                line=data.line,
            )
        figure: dict[str, Any] = dict(json.loads(json.dumps(data.content)))
        figure["config"] = CONFIG
        # Unique in the whole book, which may be one page, and the same in every build.
        page = Path(str(getattr(renderer, "source", "page"))).stem
        name = f"plotly-{page}-{data.cell_index}-{data.output_index}"
        table = tables_of_states(figure)
        sliders = figure["layout"].pop("sliders", [])
        content = DRAWN_FIGURE.format(
            id=name,
            alt=html.escape(alt or ""),
            inputs="".join(
                slider_input(name, *slider) for slider in enumerate(sliders)
            ),
            table=DATA_TABLE.format(id=name, tables=table) if table else "",
            sliders=in_script([slider["steps"] for slider in sliders]),
            figure=in_script(figure),
        )
        return [nodes.raw("", content, format="html", plotly=True)]


def in_script(value: Any) -> str:
    """JSON that can end no script."""
    return json.dumps(value, sort_keys=True).replace("<", "\\u003c")


def slider_input(name: str, number: int, slider: dict[str, Any]) -> str:
    """A plotly slider as an input of the browser.

    Args:
        name: id of the figure.
        number: which of its sliders.
        slider: of a figure's layout.
    """
    active = slider.get("active", 0)
    prefix = slider.get("currentvalue", {}).get("prefix", "").strip()
    return SLIDER_INPUT.format(
        id=name,
        number=number,
        prefix=html.escape(prefix),
        named="" if prefix else 'aria-label="what is shown" ',
        last=len(slider["steps"]) - 1,
        active=active,
        label=html.escape(str(slider["steps"][active]["label"])),
    )


def tables_of_states(figure: dict[str, Any]) -> str:
    """The numbers of a figure, or of each state of one that moves; all but the state that is shown
    are hidden."""
    frames, sliders = (
        figure.get("frames", []),
        figure["layout"].get("sliders", []),
    )
    if not frames or [len(slider["steps"]) for slider in sliders] != [
        len(frames)
    ]:
        return data_tables(figure["data"], figure["layout"])
    tables = [data_tables(frame["data"], figure["layout"]) for frame in frames]
    if not any(tables):
        return ""
    active = sliders[0].get("active", 0)
    return "".join(
        f"<div{'' if number == active else ' hidden'}>{table}</div>"
        for number, table in enumerate(tables)
    )


def data_tables(traces: list[dict[str, Any]], layout: dict[str, Any]) -> str:
    """The numbers of traces as HTML tables: a matrix for a heat map, else a column a trace.
    Pictures have none."""
    tables, series = [], []
    for trace in traces:
        if trace.get("visible") is False or trace.get("hoverinfo") == "skip":
            continue
        if "z" in trace:
            rows = [
                [name, *row]
                for name, row in zip(
                    _values(trace["y"]), _values(trace["z"]), strict=True
                )
            ]
            tables.append(_table(["", *_values(trace["x"])], rows))
        elif "x" in trace and "y" in trace:
            lying = trace.get("orientation") == "h"
            series.append(
                {**trace, "x": trace["y"], "y": trace["x"]} if lying else trace
            )
    by_x: dict[str, list[dict[str, Any]]] = {}
    for trace in series:
        by_x.setdefault(json.dumps(_values(trace["x"])), []).append(trace)
    for x, traces in by_x.items():
        columns = [json.loads(x), *(_values(trace["y"]) for trace in traces)]
        rows = [list(row) for row in zip(*columns, strict=True)]
        rows = rows[:: -(-len(rows) // MOST_ROWS) or 1]
        names = [str(trace.get("name", "")) for trace in traces]
        tables.append(_table([_axis(layout, "xaxis"), *names], rows))
    return "".join(tables)


def _values(values: Any) -> list[Any]:
    """A list, or what plotly packs an array into."""
    if isinstance(values, dict):
        array = np.frombuffer(
            base64.b64decode(values["bdata"]), values["dtype"]
        )
        shape = [
            int(side)
            for side in str(values.get("shape", len(array))).split(",")
        ]
        unpacked: list[Any] = array.reshape(shape).tolist()
        return unpacked
    return list(values)


def _axis(layout: dict[str, Any], name: str) -> str:
    return str(layout.get(name, {}).get("title", {}).get("text", ""))


def _table(head: list[Any], rows: list[list[Any]]) -> str:
    def cells(kind: str, row: list[Any]) -> str:
        return "".join(
            f"<{kind}>{html.escape(_text(value))}</{kind}>" for value in row
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', head)}</tr>{body}</table>"


def _text(value: Any) -> str:
    return (
        ""
        if value is None
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def offer_colab(app: "Sphinx", config: "Config") -> None:
    """A button to run a notebook on Colab, where the book has an address that Colab can fetch it
    from."""
    options = config.html_theme_options
    if options.get("repository_url"):
        options.setdefault("launch_buttons", {})["colab_url"] = (
            "https://colab.research.google.com"
        )


def offer_text(
    app: "Sphinx",
    pagename: str,
    templatename: str,
    context: dict,
    doctree: nodes.document | None,
) -> None:
    """Beside the download of a notebook that of the text it is paired with, which is what is read
    and edited."""
    text = Path(app.srcdir, f"{pagename}.md")
    if context.get("page_source_suffix") != ".ipynb" or not text.exists():
        return
    target = Path(app.outdir, "_sources", f"{pagename}.md")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(text, target)
    for group in context["header_buttons"]:
        if group["label"] == "download-buttons":
            source = group["buttons"][0]
            url = source["url"].removesuffix(".ipynb") + ".md"
            group["buttons"].insert(
                1,
                {
                    **source,
                    "url": url,
                    "text": ".md",
                    "label": "download-text-button",
                },
            )


def skip_tuple_fields(
    app: "Sphinx", what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """The fields of named tuples, which Python documents as "alias for field number": what they
    hold stands in the docstring of their class."""
    return True if isinstance(obj, TUPLE_FIELD) else None


def copy_scripts(app: "Sphinx") -> None:
    """Put plotly.js and the needed part of MathJax into the pages' _static folder."""
    if app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    static.mkdir(parents=True, exist_ok=True)
    (static / "face2exp.css").write_text(STYLE)
    (static / "sort_tables.js").write_text(SORT)
    with as_file(files("plotly") / "package_data" / "plotly.min.js") as script:
        shutil.copyfile(script, static / "plotly.min.js")
    with as_file(files("mathjax") / "static" / "mathjax" / "es5") as mathjax:
        for part in MATHJAX_PARTS:
            source, target = mathjax / part, static / "mathjax" / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, target)


def load_assets(
    app: "Sphinx",
    pagename: str,
    templatename: str,
    context: dict,
    doctree: nodes.document | None,
) -> None:
    """Load plotly.js on the pages that have a figure, once each, and the style on all."""
    app.add_css_file("face2exp.css")
    app.add_js_file("sort_tables.js", loading_method="defer")
    if doctree is not None and any(
        node.get("plotly") for node in doctree.findall(nodes.raw)
    ):
        app.add_js_file("plotly.min.js", loading_method="defer")


def setup(app: "Sphinx") -> dict[str, Any]:
    """Sphinx extension."""
    from myst_nb.core.render import load_mime_renders

    # MyST-NB finds renderers by entry points alone, which reach into every book of an environment:
    # ours joins the list that it keeps of them, in this process.
    if PlotlyRenderer not in (renderers := load_mime_renders()):
        renderers.append(PlotlyRenderer)
    app.connect("config-inited", offer_colab)
    app.connect("autodoc-skip-member", skip_tuple_fields)
    app.connect("builder-inited", copy_scripts)
    app.connect("html-page-context", load_assets)
    app.connect(
        "html-page-context", offer_text, priority=900
    )  # after the theme's own buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}
