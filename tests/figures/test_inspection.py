"""The page that `face2exp data inspect --html` writes."""

import os
from pathlib import Path

import pytest

from face2exp_lib.figures.inspection import write_report
from face2exp_lib.preparation.inspection import inspect
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats import trees


def test_page_without_network_with_bars_samples_and_what_is_wrong(tmp_path: Path) -> None:
    root = trees.class_folders(tmp_path / "<set>", {"happy": 12, "sad": 1, "smug": 1})
    trees.put(root / "sad" / "broken.jpg", b"broken")
    page = tmp_path / "report.html"
    write_report(inspect(root), "a <title>", page)
    text = page.read_text()
    assert "<h1>a &lt;title&gt;</h1>" in text
    assert "<h2>&lt;set&gt;</h2>" in text
    assert "folder &#x27;smug&#x27; names no expression" in text
    assert "sad/broken.jpg: not a readable image" in text
    assert text.count("Plotly.newPlot(") == 2
    assert "webp;base64," in text
    assert '<script src="http' not in text
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["<set>", "report.html"]


def test_unlabelled_faces(tmp_path: Path) -> None:
    trees.recordio(tmp_path / "rec", [(trees.jpeg(i), (i,)) for i in range(3)])
    write_report(inspect(tmp_path / "rec"), "rec", tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text().count("Plotly.newPlot(") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    trees.class_folders(tmp_path / "a", {"happy": 1, "sad": 1})
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(Face2ExpError, match="cannot write"):
        write_report(inspect(tmp_path / "a"), "x", tmp_path / "locked" / "r.html")
