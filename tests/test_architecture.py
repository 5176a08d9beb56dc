"""One way through the house: a file imports only from what stands before it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "face2exp_lib"
ADAPTERS = PACKAGE / "adapters"
RIVALS = PACKAGE / "rivals"
ORDER = (
    "errors",
    "world",
    "labels",
    "storage",
    "workers",
    "tars",
    "shards",
    "shard_sets",
    "shard_checks",
    "seeding",
    "shipped",
    "provenance",
    "jpeg",
    "imagefiles",
    "images",
    "facesets",
    "landmarks",
    "sidecars",
    "adapters",
    "reading",
    "recognition",
    "sampling",
    "augmentation",
    "patches",
    "views",
    "aug_pictures",
    "networks",
    "passes",
    "feedback",
    "meta_step",
    "rivals",
    "budget",
    "sources",
    "run_options",
    "config",
    "imagelists",
    "shard_samples",
    "sharding",
    "shard_tables",
    "shard_index",
    "streaming",
    "draws",
    "splits",
    "batches",
    "streamed",
    "checkpoint",
    "metrics",
    "metrics_log",
    "intervals",
    "predictions",
    "scores",
    "phases",
    "method_steps",
    "evaluation",
    "cross_evaluation",
    "plans",
    "boxes",
    "mtcnn",
    "face_crops",
    "inference",
    "comparison",
    "weights_terms",
    "deployment",
    "explanation",
    "features",
    "two_samples",
    "mismatch",
    "run_changes",
    "run_folder",
    "run_state",
    "run_checks",
    "telemetry",
    "training",
    "analysis",
    "arms",
    "compare",
    "inspection",
    "fingerprints",
    "audited_sets",
    "audit",
    "landmark_pieces",
    "landmarking",
    "landmark_ray",
    "figures",
    "run_figures",
    "lesson_figures",
    "feature_figures",
    "comparison_figures",
    "analysis_figures",
    "model_card",
    "inspection_report",
    "cli_tables",
    "cli_options",
    "cli_predict",
    "cli_evaluate",
    "cli_model",
    "cli_landmarks",
    "cli_shard",
    "cli_data",
    "cli",
)
ADAPTERS_ORDER = (
    "published",
    "codes",
    "tables",
    "paths",
    "adapter",
    "rendered",
    "folders",
    "fer2013",
    "rafdb",
    "affectnet",
    "expw",
    "listed",
    "celeba",
    "recordio",
    "shards",
    "__init__",
)
RIVALS_ORDER = (
    "class_balanced",
    "pseudo_label",
    "uda",
    "fixmatch",
    "noisy_student",
    "meta_pseudo_labels",
    "scn",
    "__init__",
)
SUBPACKAGES = {"adapters", "rivals"}
FACES_MAY_USE = {"errors", "storage", "workers", "shards", "labels", "seeding"}
APART = {"__init__"}


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere in it; a subpackage by its name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if node.module == "face2exp_lib":
                found |= {alias.name for alias in node.names}
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("face2exp_lib.")}
    return found - {"__version__"}


def test_every_module_has_its_place() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert modules | SUBPACKAGES == {*ORDER, *APART}
    assert {path.stem for path in ADAPTERS.glob("*.py")} == set(ADAPTERS_ORDER)
    assert {path.stem for path in RIVALS.glob("*.py")} == set(RIVALS_ORDER)


SIBLINGS = [
    *(("adapters", module, ADAPTERS_ORDER) for module in ADAPTERS_ORDER),
    *(("rivals", module, RIVALS_ORDER) for module in RIVALS_ORDER),
]


@pytest.mark.parametrize(
    ("package", "module", "order"),
    SIBLINGS,
    ids=[f"{where}.{which}" for where, which, _ in SIBLINGS],
)
def test_a_subpackage_imports_only_from_what_stands_before_it(
    package: str, module: str, order: tuple[str, ...]
) -> None:
    path = PACKAGE / package / f"{module}.py"
    assert imported(path) <= {*ORDER[: ORDER.index(package) + 1]}
    names = {
        node.module.split(".")[2]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module
        and node.module.startswith(f"face2exp_lib.{package}.")
    }
    assert names <= set(order[: order.index(module)])


@pytest.mark.parametrize("module", [module for module in ORDER if module not in SUBPACKAGES])
def test_a_module_imports_only_from_what_stands_before_it(module: str) -> None:
    before = {*ORDER[: ORDER.index(module)], *(["faces"] if module == "cli_data" else [])}
    assert imported(PACKAGE / f"{module}.py") <= before


def test_what_stands_apart_imports_nothing_of_the_way() -> None:
    for module in APART:
        assert imported(PACKAGE / f"{module}.py") == set()


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "faces").glob("*.py")), ids=lambda path: path.stem
)
def test_the_face_renderer_knows_nothing_of_training(path: Path) -> None:
    assert imported(path) <= FACES_MAY_USE | {"faces"}


def test_the_check_would_notice(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "import face2exp_lib.cli\nfrom face2exp_lib.faces.pack import y\n"
        "def f():\n    from face2exp_lib import training, __version__\n"
    )
    assert imported(path) == {"cli", "faces", "training"}


def test_files_are_short() -> None:
    """A module of more than 300 lines wants splitting."""
    paths = PACKAGE.rglob("*.py")
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in paths}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_import_loads_no_torch_and_opens_no_connection() -> None:
    program = """
import sys

def watch(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(event)

sys.addaudithook(watch)
import face2exp_lib
assert face2exp_lib.__version__
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PACKAGE.parent)
