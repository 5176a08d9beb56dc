"""One way through the house: a room imports from itself and from the rooms before it."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "face2exp_lib"
ROOMS = (
    "runtime",
    "data.sets",
    "data.shards",
    "data.formats",
    "data",
    "augmentation",
    "backbones",
    "networks",
    "methods",
    "config",
    "evaluation",
    "preparation",
    "rendering",
    "training",
    "runs",
    "comparison",
    "figures",
    "cli",
)
# What a room may use of those before it, where that is less than all of them: a process that draws
# faces loads no torch.
LESS = {"rendering": {"runtime", "data.sets.labels", "data.shards.writer"}}


def name_of(path: Path) -> str:
    """A module as it is imported, without the package's name; a room by its folder."""
    dotted = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    """The room that a module stands in: the longest beginning of its name that is one."""
    parts = module.split(".")
    beginnings = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((room for room in beginnings if room in ROOMS), "")


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
            # What is taken from a module is that module; a module taken from a room is itself.
            found |= {n if n.removeprefix("face2exp_lib.") in MODULES else module for n in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {
        name.removeprefix("face2exp_lib.") for name in found if name.startswith("face2exp_lib.")
    }


IMPORTS = {
    module: imported(path) - {module} for module, path in MODULES.items() if module != "__init__"
}


def test_every_module_stands_in_a_room() -> None:
    assert {module for module in IMPORTS if not room_of(module)} == {"__init__"} - MODULES.keys()
    assert {room_of(module) for module in IMPORTS} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_itself_and_those_before_it(room: str) -> None:
    allowed = ROOMS[: ROOMS.index(room) + 1]
    upwards = {
        (module, other)
        for module, others in IMPORTS.items()
        for other in others
        if room_of(module) == room and room_of(other) not in allowed
    }
    assert upwards == set()


def test_there_is_no_circle() -> None:
    TopologicalSorter(IMPORTS).prepare()


@pytest.mark.parametrize("room", LESS)
def test_a_room_that_may_use_less(room: str) -> None:
    for module in (module for module in IMPORTS if room_of(module) == room):
        for other in IMPORTS[module]:
            assert room_of(other) == room or {other, room_of(other)} & LESS[room], (module, other)


def test_what_make_trains_from_is_what_training_imports() -> None:
    """An edit of anything else retrains nothing, and of each of these it does."""
    (line,) = re.findall(r"^MADE_FROM := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    made_from = {entry.removesuffix(".py") for entry in line.split()}
    reached, todo = set(), {"training.loop"}
    while todo:
        module = todo.pop()
        reached.add(module)
        todo |= IMPORTS[module] - reached
    assert {module.split(".")[0] for module in reached} == made_from


def test_the_checks_would_notice(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "import face2exp_lib.cli.main\nfrom face2exp_lib.rendering.pack import y\n"
        "def f():\n    from face2exp_lib.training import loop\n"
        "    from face2exp_lib import config\n"
    )
    assert imported(path) == {"cli.main", "rendering.pack", "training.loop", "config"}
    assert room_of("data.formats.rafdb") == "data.formats"
    assert room_of("data.splits") == "data"
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


def test_files_are_short() -> None:
    """A module of more than 400 lines wants splitting."""
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_rooms_say_nothing_of_their_own() -> None:
    """Their files do; importing a room loads nothing. `formats` and `methods` are lists of them."""
    for name, path in MODULES.items():
        if path.name == "__init__.py" and name not in ("__init__", "data.formats", "methods"):
            assert path.read_text().strip() == "" or name == "rendering", name


def test_the_docstring_of_the_package_is_its_map() -> None:
    """Every room on a line of its own, in the order of `ROOMS`."""
    docstring = ast.get_docstring(ast.parse(MODULES["__init__"].read_text())) or ""
    told = re.findall(r"^    (\w+)(?:/|\.py) +\S", docstring, re.M)
    assert told == list(dict.fromkeys(room.split(".")[0] for room in ROOMS))


def test_tests_mirror_the_rooms() -> None:
    """At the top are those of rooms that are one file, and those about the whole."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in ROOT.glob("tests/**/test_*.py")}
    rooms = {Path(*room.split(".")) for room in ROOMS}
    assert folders - {Path(), Path("book")} <= rooms


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
