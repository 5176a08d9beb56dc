"""A wheel carries the embedded faces and the configurations, and trains from an empty folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Two steps are enough to read the faces, update both networks and write a run.
TRAIN = ["train", "rendered_cpu.yaml", "--run-dir", "run"]
FEW_STEPS = {
    "training.num_steps": 2,
    "training.warm_start_steps": 2,
    "training.finetune_steps": 2,
    "training.eval_every_steps": 2,
    "training.checkpoint_every_steps": 2,
}


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    run(*build, output, ROOT, cwd=output)
    (built,) = output.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that finds the wheel's package and not the checkout's."""
    target = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target"]
    run(*install, target, wheel, cwd=target)
    return os.environ | {"PYTHONPATH": str(target)}


def test_wheel_holds_the_library_its_faces_and_its_configs_and_nothing_else(wheel: Path) -> None:
    patterns = {
        "face2exp_lib": [
            *(f"face2exp_lib/**/*.{kind}" for kind in ("py", "npz", "js", "css")),
            "face2exp_lib/py.typed",
        ],
        "face2exp_lib/_data": [
            f"data/*/*.{kind}" for kind in ("zip", "csv", "parquet", "yaml", "safetensors")
        ],
        "face2exp_lib/_configs": ["configs/*.yaml"],
        "face2exp_lib/_results": ["results/**/*.json", "results/**/*.jsonl"],
    }
    expected = set()
    for target, globs in patterns.items():
        sources = [path.relative_to(ROOT) for pattern in globs for path in ROOT.glob(pattern)]
        assert sources, f"nothing to put into {target}"
        expected |= {Path(target, *path.parts[1:]).as_posix() for path in sources}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = {
            name.partition("/licenses/")[2] for name in archive.namelist() if "/licenses/" in name
        }
    assert held == expected
    assert licences == {"LICENSE", "face2exp_lib/rendering/NOTICE"}


def test_wheel_enters_its_command_and_nothing_of_the_book(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        entry_points = archive.read(name).decode()
    assert entry_points.split("\n", 1) == [
        "[console_scripts]",
        "face2exp = face2exp_lib.cli.main:main\n",
    ]


FIGURE = {
    "application/vnd.plotly.v1+json": {"data": [{"type": "bar", "y": [1]}], "layout": {}},
    "text/html": "<p>how somebody else's book shows it</p>",
}


def test_installed_wheel_leaves_the_books_of_others_as_they_are(
    installed: dict[str, str], tmp_path: Path
) -> None:
    """The same pages beside our wheel, and where nothing of our name enters anything."""
    nbformat = pytest.importorskip("nbformat", reason="the extra `book` is missing")
    book, nobody = tmp_path / "book", tmp_path / "nobody"
    book.mkdir()
    (book / "conf.py").write_text(
        'extensions = ["myst_nb"]\nnb_execution_mode = "off"\nroot_doc = "page"\n'
    )
    output = nbformat.v4.new_output("display_data", data=FIGURE)
    cells = [
        nbformat.v4.new_markdown_cell("# A figure"),
        nbformat.v4.new_code_cell("figure", outputs=[output]),
    ]
    language = {"language_info": {"name": "python", "pygments_lexer": "python"}}
    page = nbformat.v4.new_notebook(cells=cells, metadata=language)
    nbformat.write(page, book / "page.ipynb")
    # An empty distribution of our name hides what the environment of these tests has installed.
    (nobody / "face2exp_lib-0.dist-info").mkdir(parents=True)
    (nobody / "face2exp_lib-0.dist-info/METADATA").write_text("Name: face2exp-lib\nVersion: 0\n")
    pages = {}
    for name, path in (("with", installed["PYTHONPATH"]), ("without", str(nobody))):
        out = tmp_path / name
        run(
            sys.executable, "-m", "sphinx", "-q", "-d", tmp_path / f"{name}-doctrees", book, out,
            cwd=tmp_path, env=installed | {"PYTHONPATH": path},
        )  # fmt: skip
        pages[name] = {
            file.relative_to(out): file.read_bytes()
            for file in out.rglob("*")
            if file.suffix in (".html", ".js")
        }
    assert b"how somebody else" in pages["without"][Path("page.html")]
    assert pages["with"] == pages["without"]


def test_installed_wheel_trains_and_evaluates_in_an_empty_folder(
    installed: dict[str, str], tmp_path: Path
) -> None:
    where = run(
        sys.executable, "-c", "import face2exp_lib; print(*face2exp_lib.__path__)",
        cwd=tmp_path, env=installed,
    )  # fmt: skip
    assert where.strip() == str(Path(installed["PYTHONPATH"], "face2exp_lib"))

    command = [sys.executable, "-m", "face2exp_lib.cli"]
    changes = [word for key, value in FEW_STEPS.items() for word in ("--set", f"{key}={value}")]
    run(*command, *TRAIN, *changes, cwd=tmp_path, env=installed)
    run(*command, "evaluate", "run", "--split", "test", cwd=tmp_path, env=installed)
    evaluation = json.loads((tmp_path / "run/evaluation-test.json").read_text())
    assert 0 <= evaluation["mean_class_accuracy"] <= 100
    assert len(evaluation["class_names"]) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_make_trains_again_when_a_module_that_training_imports_changes() -> None:
    """Its list is of rooms; `test_architecture` holds these against the imports in the sources."""
    listing = subprocess.run(
        ["make", "-f", "-", "list"],
        input="include Makefile\nlist: ; @echo $(TRAINING)\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = run(
        sys.executable, "-c",
        "import sys, face2exp_lib.training.loop\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('face2exp_lib.')))",
        cwd=ROOT,
    )  # fmt: skip
    sources = {(ROOT / name).resolve() for name in listing.stdout.split()}
    modules = {Path(name).resolve() for name in imported.split()}
    assert ROOT / "face2exp_lib/methods/meta_face2exp.py" in modules
    assert modules <= sources
    assert ROOT / "face2exp_lib/cli/main.py" not in sources
