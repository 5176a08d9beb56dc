"""The strict build succeeds, and fails where it should."""

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import plotly.graph_objects as go
import pytest
from bs4 import BeautifulSoup
from docutils import nodes

from book.plotly_figures import MIME_TYPE, PlotlyRenderer, offer_colab, tables_of_states
from face2exp_lib.figures.style import moving
from tests.book.conftest import ROOT, build

EXTENSIONS = ("book/plotly_figures.py", "book/slides.py", "book/term_links.py")


def test_strict_build_leaves_the_pages_and_their_scripts(html: Path) -> None:
    for name in ("index.html", "book/index.html", "book/evaluate.html", "_static/plotly.min.js"):
        assert (html / name).is_file(), name
    assert (html / "_static/mathjax/tex-chtml.js").is_file()


def test_plotly_is_loaded_once_and_only_where_there_is_a_figure(html: Path) -> None:
    for page in (html / "book").glob("*.html"):
        text = page.read_text()
        assert text.count("/plotly.min.js") == int("Plotly.newPlot(" in text), page.name


def test_figure_without_alternative_text_and_failing_cell_break_the_build(
    tmp_path: Path, jupyter_env: dict[str, str]
) -> None:
    (tmp_path / "book").mkdir()
    for name in ("_config.yml", "book/glossary.md", "book/lectures.yaml", *EXTENSIONS):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    source = "import plotly.graph_objects as go\n\ngo.Figure(go.Bar(y=[1]))"
    page = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Faults"),
            nbformat.v4.new_code_cell(source),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    nbformat.write(page, tmp_path / "page.ipynb")
    no_alt = build(tmp_path, tmp_path / "out", jupyter_env)
    assert no_alt.returncode != 0
    assert "plotly figure without alternative text" in no_alt.stdout

    page.cells[1] = nbformat.v4.new_code_cell("1 / 0")
    nbformat.write(page, tmp_path / "page.ipynb")
    failing = build(tmp_path, tmp_path / "out", jupyter_env)
    assert failing.returncode != 0
    assert "ZeroDivisionError" in failing.stdout


NO_RENDERER: Any = None  # is asked only to warn


def render(content: dict, alt: str = "A bar.", inline: bool = False) -> list[nodes.Element] | None:
    data: Any = SimpleNamespace(
        mime_type=MIME_TYPE,
        content=content,
        cell_metadata={"mystnb": {"image": {"alt": alt}}},
        cell_index=3,
        output_index=0,
        line=1,
    )
    return PlotlyRenderer.handle_mime(NO_RENDERER, data, inline)


def test_labels_cannot_break_out_of_the_script_nor_the_attribute() -> None:
    figure = {"data": [], "layout": {"title": {"text": "</script><!-- a < b"}}}
    rendered = render(figure, alt='"quoted" > text')
    assert rendered is not None
    text = rendered[0].astext()
    assert text.count("</script>") == 1
    assert "<!--" not in text
    assert 'aria-label="&quot;quoted&quot; &gt; text"' in text


def test_figure_is_the_same_in_each_build_and_keeps_its_frames() -> None:
    figure = {"frames": [{"name": "step 1"}], "data": [], "layout": {}}
    first, second = render(figure), render(dict(reversed(figure.items())))
    assert first is not None
    assert second is not None
    assert first[0].astext() == second[0].astext()
    assert 'id="plotly-page-3-0"' in first[0].astext()
    assert '"step 1"' in first[0].astext()


@pytest.mark.parametrize("mime_type", ["text/plain", "text/html"])
def test_other_outputs_are_left_to_myst_nb(mime_type: str) -> None:
    data: Any = SimpleNamespace(mime_type=mime_type)
    assert PlotlyRenderer.handle_mime(NO_RENDERER, data, False) is None


def test_the_numbers_of_a_figure_as_a_table() -> None:
    """Traces of one x share a table; packed arrays are unpacked; hidden traces have none."""
    packed = go.Figure(
        go.Scatter(x=np.arange(2), y=np.array([0.5, 2.0]), name="b")
    ).to_plotly_json()
    bars = {"type": "bar", "x": [0, 1], "y": [1, None], "name": "a<"}
    hidden = {"type": "bar", "x": [0, 1], "y": [9, 9], "visible": False}
    figure = {
        "data": [bars, *json.loads(json.dumps(packed["data"], default=list)), hidden],
        "layout": {"xaxis": {"title": {"text": "step"}}},
    }
    (table,) = BeautifulSoup(tables_of_states(figure), "html.parser").select("table")
    rows = [[cell.get_text() for cell in row.select("th, td")] for row in table.select("tr")]
    assert rows == [["step", "a<", "b"], ["0", "1", "0.5"], ["1", "", "2"]]


def test_bars_that_lie_are_rows_by_their_names() -> None:
    bars = {"type": "bar", "x": [3, 4], "y": ["a", "b"], "orientation": "h", "name": "n"}
    table = tables_of_states({"data": [bars], "layout": {}})
    assert "<tr><td>a</td><td>3</td></tr><tr><td>b</td><td>4</td></tr>" in table


def test_arrays_that_plotly_packed() -> None:
    array = np.array([[1.5, 2], [3, 4]])
    content = {"dtype": "f8", "bdata": base64.b64encode(array.tobytes()).decode(), "shape": "2, 2"}
    heat = {"type": "heatmap", "x": ["a", "b"], "y": ["c", "d"], "z": content}
    table = tables_of_states({"data": [heat], "layout": {}})
    assert "<tr><td>c</td><td>1.5</td><td>2</td></tr>" in table


def test_long_series_are_thinned_out() -> None:
    figure = {"data": [{"x": list(range(1000)), "y": list(range(1000))}], "layout": {}}
    assert 30 <= tables_of_states(figure).count("<tr>") <= 61


def test_a_figure_that_moves_has_the_numbers_of_every_state() -> None:
    figure = moving(
        {"a": [go.Bar(x=["x"], y=[1])], "b": [go.Bar(x=["x"], y=[2])]}, prefix="", active=1
    )
    content = json.loads(str(figure.to_json()))
    soup = BeautifulSoup(tables_of_states(content), "html.parser")
    states = soup.find_all("div", recursive=False)
    assert [state.has_attr("hidden") for state in states] == [True, False]
    assert [state.select("td")[1].get_text() for state in states] == ["1", "2"]


def test_a_slider_becomes_an_input() -> None:
    steps = [{"label": label, "method": "animate", "args": [[label]]} for label in ("1<", "2")]
    figure = {
        "data": [],
        "layout": {"sliders": [{"steps": steps, "active": 0, "currentvalue": {"prefix": "at: "}}]},
    }
    rendered = render(figure)
    assert rendered is not None
    page = BeautifulSoup(rendered[0].astext(), "html.parser")
    (slider,) = page.select("label input[type=range]")
    assert (slider["max"], slider["value"], slider["aria-valuetext"]) == ("1", "0", "1<")
    (script,) = page.select("script")
    assert '"sliders"' not in script.get_text()


@pytest.mark.parametrize("address", ["", "https://example.org/face2exp"])
def test_colab_is_offered_where_it_can_fetch_the_book(address: str) -> None:
    config: Any = SimpleNamespace(html_theme_options={"repository_url": address})
    offer_colab(NO_RENDERER, config)
    assert ("launch_buttons" in config.html_theme_options) == bool(address)
