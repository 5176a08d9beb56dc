"""pyproject.toml's ranges, constraints.txt's versions and environment.yml say the same thing."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from face2exp_lib.data.formats.rendered import read_rendered
from face2exp_lib.runtime.resources import shipped

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
DECLARED = [
    Requirement(line)
    for lines in (
        PROJECT["build-system"]["requires"],
        PROJECT["project"]["dependencies"],
        *EXTRAS.values(),
    )
    for line in lines
]
ALL_EXTRAS = ",".join(sorted(EXTRAS))


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    parsed: dict[str, Version] = {}
    for line in lines:
        if line.startswith("#"):
            continue
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line), f"not an exact pin: {line}"
        name, version = line.split("==")
        assert canonicalize_name(name) not in parsed, f"{name} is pinned twice"
        parsed[canonicalize_name(name)] = Version(version)
    return parsed


PINS = pins()


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_each_declared_dependency_is_pinned_inside_its_range(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    assert name in PINS, f"{name} has no line in constraints.txt: run `make pins`"
    assert requirement.specifier.contains(PINS[name])


def test_the_whole_closure_is_pinned() -> None:
    """Walks what is installed here: a dependency's dependency without a pin would float."""
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(f"face2exp-lib[{ALL_EXTRAS}]")]
    while todo:
        requirement = todo.pop()
        for extra in {"", *requirement.extras}:
            key = (canonicalize_name(requirement.name), extra)
            if key in seen:
                continue
            seen.add(key)
            for line in distribution(requirement.name).requires or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    todo.append(needed)
    names = {name for name, _ in seen} - {"face2exp-lib"}
    assert len(names) > len(DECLARED)
    assert names <= set(PINS), f"not in constraints.txt: {sorted(names - set(PINS))}"


def test_environment_yml_names_no_version_but_pythons() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, from_pip = environment["dependencies"]
    version = re.fullmatch(r"python=(3\.\d+)", python)
    assert version is not None
    assert Requirement(f"python{PROJECT['project']['requires-python']}").specifier.contains(
        version[1]
    )
    assert pip == "pip"
    assert from_pip == {"pip": ["-c constraints.txt", f"-e .[{ALL_EXTRAS}]"]}


def test_make_installs_the_same_with_the_same_pins() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert f"install -c constraints.txt --no-build-isolation -e '.[{ALL_EXTRAS}]'" in makefile


@pytest.mark.parametrize(
    ("torch", "torchvision"), [("2.6.0", "0.21.0"), ("2.9.1", "0.24.1"), ("2.14.1", "0.29.1")]
)
def test_a_torch_that_is_already_there_stays(torch: str, torchvision: str) -> None:
    ranges = {requirement.name: requirement.specifier for requirement in DECLARED}
    assert ranges["torch"].contains(torch)
    assert ranges["torchvision"].contains(torchvision)


def test_the_facenet_pytorch_that_pins_an_old_torch_is_kept_out() -> None:
    (facenet,) = (item for item in DECLARED if item.name == "facenet-pytorch")
    assert not facenet.specifier.contains("2.6.0")


def test_pinned_detector_works_with_the_pinned_torch() -> None:
    """facenet-pytorch 2.5.3 is older than the torch it runs with here."""
    facenet_pytorch = pytest.importorskip("facenet_pytorch", reason="the landmarks extra is absent")
    faces = read_rendered(shipped("data/rendered"), "fer_val", "names")
    image = faces.images.open(int(faces.rows[0])).convert("RGB").resize((256, 256))
    _, _, points = facenet_pytorch.MTCNN().detect(image, landmarks=True)
    assert points.shape == (1, 5, 2)
