"""Spec files: what they list, and every way in which they can be wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from face2exp_lib.rendering import FaceSpec, SpecError
from face2exp_lib.rendering.parts import Part, load_parts, parse_parts

ROOT = Path(__file__).parents[2]


def test_parts_and_which_of_them_are_unlabelled() -> None:
    text = b"unlabelled: [b]\nparts:\n  a: {count: 3, purpose: x}\n  b: {intensity: [0.5, 1]}\n"
    assert parse_parts(text, Path("pack.yaml")) == [
        Part("a", FaceSpec(count=3, purpose="x"), labelled=True),
        Part("b", FaceSpec(purpose="b", intensity=(0.5, 1.0)), labelled=False),
    ]


def test_a_lone_spec_is_named_by_its_purpose_else_by_its_file() -> None:
    path = Path("some/smiles.yaml")
    assert parse_parts(b"count: 3\npurpose: x\n", path) == [
        Part("x", FaceSpec(count=3, purpose="x"))
    ]
    assert parse_parts(b"count: 3\n", path) == [Part("smiles", FaceSpec(count=3, purpose="smiles"))]


def test_the_spec_in_the_readme() -> None:
    text = (ROOT / "data" / "README.md").read_text()
    (part,) = parse_parts(text.split("```yaml\n")[1].split("```")[0].encode(), Path("x.yaml"))
    assert part.name == "smiles"
    assert part.spec.classes == {"neutral": 2, "happy": 2, "contempt": 1, "surprise+happy": 1}


def test_the_digest_tells_spec_and_labelling_apart() -> None:
    part = Part("a", FaceSpec(count=3))
    others = [
        replace(part, spec=FaceSpec(count=4)),
        replace(part, spec=FaceSpec(count=3, classes={"sad": 1.0})),
        replace(part, labelled=False),
    ]
    assert part.digest == Part("b", FaceSpec(count=3)).digest
    assert len({part.digest, *(other.digest for other in others)}) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parts: {a: {size: 0}}", "part 'a': face spec: size: input should be greater"),
        ("size: 10000", "part 'spec': face spec: size: input should be less .* got 10000"),
        ("count: 0", "face spec: count: input should be greater than or equal to 1, got 0"),
        ("count: 1e3", "face spec: count: input should be a valid integer, got '1e3'"),
        ("count: yes", "face spec: count: input should be a valid integer, got True"),
        ("intensity: strong", "face spec: intensity: input should be a valid tuple, got 'strong'"),
        ("intensity: [low, high]", r"face spec: intensity\.0: input should be a valid number"),
        ("classes: [happy, sad]", r"face spec: classes: input should be a valid dictionary"),
        ("classes: {happy: -1}", "weight -1.0 of 'happy' must be 0 or a positive number"),
        ("classes: {no: 1}", "face spec: classes.*: input should be a valid string, got False"),
        ("num_identities: 6", "num_identities: 6 for 7 classes: give at least one identity"),
        ("part: {a: {}}", "face spec: unknown field 'part': use seed, purpose, count"),
        ("2: 3", "face spec: unknown field 2: use seed"),
        ("unlabelled: [a]", "unknown field 'unlabelled'"),
        ("seed: " + 9 * "9" + 5000 * "9", "not readable as YAML"),
        ("seed: 0x1" + 5000 * "0", "face spec: seed: .* got a huge number"),
        ("purpose: 3", "face spec: purpose: input should be a valid string, got 3"),
        ("purpose: ../a", r"part name '\.\./a' must be up to 64 letters"),
        ("parts: {../a: {}}", r"part name '\.\./a' must be up to 64 letters"),
        ("parts: {/etc/a: {}}", "part name '/etc/a' must"),
        ("parts: {.hidden: {}}", r"part name '\.hidden' must"),
        ("parts: {2: {}}", "part name 2 must be"),
        ("parts: 3", "parts: needs a mapping from part name"),
        ("parts: {}", "parts: needs a mapping from part name"),
        ("parts: {a: }", "part 'a': face spec: needs fields and their values, got None"),
        ("parts: {a: [1]}", r"part 'a': face spec: needs fields and their values, got \[1\]"),
        ("parts: {a: {}}\nshards: 2", "unknown key 'shards' beside parts"),
        ("parts: {a: {}}\nunlabelled: [b]", "unlabelled: there is no part 'b'"),
        ("parts: {a: {}}\nunlabelled: [[a]]", "unlabelled: there is no part"),
        ("parts: {a: {}}\nunlabelled: a", "unlabelled: needs a list"),
        ("parts: {a: {}, a_truth: {}}\nunlabelled: [a]", "part 'a_truth': a keeps its truth there"),
        ("parts: [", "not readable as YAML"),
        ("- 3", "holds no spec"),
        ("", "holds no spec"),
        ("[" * 5000, "not readable as YAML"),
        ("purpose: 2024-13-45", "not readable as YAML"),
        ("!!python/object/apply:os.system ['true']", "not readable as YAML: could not determine"),
        ("count: !!python/name:os.system", "not readable as YAML: could not determine"),
        (
            "a: &a [x, x]\nb: &b [*a, *a]\nclasses: *b",
            "classes: input should be a valid dictionary",
        ),
    ],
)
def test_a_wrong_file_is_named_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        load_parts(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file: give a YAML file"),
        (lambda path: path.mkdir(), "is a folder: give the YAML file in it"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: path.write_bytes(bytes(range(256))), "not readable as YAML"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "not readable as YAML"),
        (lambda path: path.write_bytes(b"#" * 2**20 + b"\n"), "is over 1 MB and no spec"),
    ],
    ids=["gone", "folder", "loop", "binary", "half a letter", "large"],
)
def test_what_is_no_spec_file(make: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    make(path)
    with pytest.raises(SpecError, match=rf"spec\.yaml: {message}"):
        load_parts(path)
