"""What the book asks of Sphinx: plotly figures and formulas that need no network.

As a MyST-NB renderer it turns the `application/vnd.plotly.v1+json` that a bare plotly figure
stores into a drawn figure, so notebooks need no renderer of their own and stay small. As a Sphinx
extension it puts plotly.js and MathJax beside the pages, copied from the installed packages.

A figure's alternative text is owed, and is given with its caption in the cell's metadata:

    mystnb:
      figure: {name: fig-feedback, caption: What moves what.}
      image: {alt: What one would see.}
"""

import html
import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes

if TYPE_CHECKING:
    from myst_nb.core.render import MimeData, NbElementRenderer
    from sphinx.application import Sphinx

MIME_TYPE = "application/vnd.plotly.v1+json"

# Of MathJax's 24 MB: TeX in, HTML with its own fonts out, and what TeX may load on demand.
MATHJAX_PARTS = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts")

# Without the button that uploads a figure to plotly's own service.
CONFIG = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["sendChartToCloud"],
    "responsive": True,
}

# `</script>` or `<!--` inside a label would end or comment out the script: no `<` is left in it.
DRAWN_FIGURE = """\
<div id="{id}" class="plotly-figure" role="figure" aria-label="{alt}"></div>
<script>
document.addEventListener("DOMContentLoaded", () => Plotly.newPlot("{id}", {figure}));
</script>
"""


class PlotlyRenderer:
    """MyST-NB mime renderer, named by the entry point in pyproject.toml."""

    mime_priority_overrides: ClassVar = [("html", MIME_TYPE, 1)]

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
        content = DRAWN_FIGURE.format(
            # Unique on its page and the same in every build.
            id=f"plotly-{data.cell_index}-{data.output_index}",
            alt=html.escape(alt or ""),
            figure=json.dumps(figure, sort_keys=True).replace("<", "\\u003c"),
        )
        return [nodes.raw("", content, format="html", plotly=True)]


def copy_scripts(app: "Sphinx") -> None:
    """Put plotly.js and the needed part of MathJax into the pages' _static folder."""
    if app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    static.mkdir(parents=True, exist_ok=True)
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


def load_plotly(
    app: "Sphinx", pagename: str, templatename: str, context: dict, doctree: nodes.document | None
) -> None:
    """Load plotly.js on the pages that have a figure, once each."""
    if doctree is not None and any(node.get("plotly") for node in doctree.findall(nodes.raw)):
        app.add_js_file("plotly.min.js", loading_method="defer")


def setup(app: "Sphinx") -> dict[str, Any]:
    """Sphinx extension."""
    app.connect("builder-inited", copy_scripts)
    app.connect("html-page-context", load_plotly)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
