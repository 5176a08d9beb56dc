"""Configurations: what is taken, what is refused, and how the refusal reads."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from face2exp_lib.augmentation.patches import AugOptions
from face2exp_lib.config import RunConfig, data_root, dump_config, load_config
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.data.sources import Source
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped
from face2exp_lib.training.pretrain_config import load_either_config

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path
    for path in (ROOT / "configs").glob("*.yaml")
    if not path.stem.startswith(("compare_", "study_"))  # comparisons
)
RUNS = [path for path in CONFIGS if not path.stem.startswith("pretrain")]
Tiny = Callable[..., RunConfig]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_packaged_config_loads_and_says_what_it_is(path: Path) -> None:
    config = load_either_config(path)
    assert config.name == path.stem
    head = path.read_text().split("name:")[0]
    assert all(line.startswith("#") for line in head.strip().splitlines())
    verb = "train" if isinstance(config, RunConfig) else "pretrain"
    assert f"face2exp {verb} configs/{path.name}" in head


def test_the_configs_of_the_papers_rows_are_there() -> None:
    expected = {f"affectnet7_{percent}pct" for percent in (1, 5, 10)} | {"affectnet8_10pct"}
    expected |= {f"rafdb_{percent}pct" for percent in (25, 50, 100)}
    expected |= {"fer2013_lfw_cpu", "rendered_cpu"}
    assert expected <= {path.stem for path in CONFIGS}


def test_defaults_are_the_papers(tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    sets = "labelled: {format: rendered}, test: {format: rendered}, unlabelled: {format: rendered}"
    path.write_text(
        f"name: x\ndata: {{{sets}, validation_per_class: 1}}\ntraining: {{num_steps: 1}}\n"
    )
    config = load_config(path)
    assert (config.training.eta_b, config.training.eta_a) == (1e-2, 1e-3)
    assert config.training.eta_finetune == 1e-5
    assert (config.training.momentum_b, config.training.momentum_a) == (0, 0)
    meta = config.meta
    assert (meta.w_s, meta.w_u, meta.w_c, meta.w_f, meta.ramp_steps) == (1, 1, 1, 1, 0)
    assert (meta.feedback, meta.feedback_norm, meta.feedback_batch) == ("exact", "paper", "own")
    assert (meta.feedback_unit, meta.pseudo_labels) == ("batch", "argmax")
    assert (meta.balance, meta.reweight) == ("none", "none")
    assert (meta.consistency_temperature, meta.consistency_threshold) == (1, 0)
    assert meta.pseudo_label_threshold == 0
    assert (config.compute.precision, config.compute.micro_batch_size) == ("float32", None)
    assert config.aug == AugOptions()
    assert (config.aug.patches, config.aug.groups) == ("keep", "together")
    assert (config.data.stored_size, config.data.view_size) == (256, 224)
    assert config.network.backbone == "resnet50"
    assert config.method == "meta"


def test_a_bare_name_is_looked_up_among_the_packaged_configs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("rendered_cpu.yaml")).name == "rendered_cpu"
    (tmp_path / "rendered_cpu.yaml").write_text("- mine")
    with pytest.raises(Face2ExpError, match=r"rendered_cpu\.yaml: holds no configuration"):
        load_config(Path("rendered_cpu.yaml"))  # a file at hand comes first


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_dumped_config_loads_to_an_equal_one(path: Path, tmp_path: Path) -> None:
    config = load_config(path, ["training.eta_finetune=1.0e-5", "seed=3"])
    (tmp_path / "dumped.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "dumped.yaml") == config
    assert load_config(tmp_path / "dumped.yaml", ["seed=4"]) != config


# --set


def test_set_changes_keys_at_every_level(tiny: Tiny) -> None:
    config = tiny(
        "seed=7",
        "training.num_steps=100",
        "training.eta_b=1e-3",  # YAML 1.1 takes this for text; it is a number all the same
        "data.validation_per_class=null",
        "data.validation={format: class_folders, part: val}",
        "meta.w_f=0",
        "aug={patches: cover, patch_parts: [eyes, mouth], mouth: middle}",
        "name=other",
        "name=last",
    )
    assert config.seed == 7
    assert config.training.num_steps == 100
    assert config.training.eta_b == 1e-3
    assert config.data.validation is not None
    assert config.data.validation.part == "val"
    assert config.meta.w_f == 0
    assert config.aug == AugOptions("cover", ("eyes", "mouth"), "middle")
    assert config.name == "last"


def test_set_may_hold_an_equals_sign_in_its_value(tiny: Tiny) -> None:
    assert tiny("data.test.path=a=b").data.test.path == "a=b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training", r"--set training: expected key=value, e\.g\. training\.num_steps=100"),
        ("training.num_steps.x=1", r"--set .*: 'num_steps' holds a value, not keys"),
        ("seed=[1", r"--set seed=\[1: not a YAML value"),
        ("seed=2001-99-99", r"--set seed=2001-99-99: not a YAML value: month must be in 1\.\.12"),
        ("seed=" + "9" * 5000, r"not a YAML value"),
        ("seed=" + "[" * 2000, r"not a YAML value"),
        ("=5", r"tiny\.yaml: \(whole file\): unknown key"),
        ("trainig.num_steps=1", r"tiny\.yaml: trainig: unknown key: check its spelling and level"),
        ("training.steps=1", r"tiny\.yaml: training\.steps: unknown key"),
        ("meta.w_x=1", r"tiny\.yaml: meta\.w_x: unknown key"),
        ("aug.patch=keep", r"tiny\.yaml: aug\.patch: unknown key"),
        ("data.test.parts=x", r"tiny\.yaml: data\.test\.parts: unknown key"),
    ],
)
def test_set_that_says_nothing_or_something_unknown(tiny: Tiny, change: str, message: str) -> None:
    with pytest.raises(Face2ExpError, match=message) as caught:
        tiny(change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.num_steps=0", r"training\.num_steps: Input should be greater than 0, got 0"),
        ("training.num_steps=1.5", r"training\.num_steps: .*integer.*, got 1\.5"),
        ("training.num_steps=many", r"training\.num_steps: .*integer.*, got 'many'"),
        ("training.num_steps=null", r"training\.num_steps: .*integer"),
        ("training.eta_b=-0.1", r"training\.eta_b: .*greater than or equal to 0"),
        ("training.eta_a=.nan", r"training\.eta_a: .*finite number"),
        ("training.eta_a=.inf", r"training\.eta_a: .*finite number"),
        ("training.eta_b=1e39", r"training\.eta_b: .*less than or equal to 1"),
        ("training.eta_finetune=1e39", r"training\.eta_finetune: .*less than or equal to 1"),
        ("training.weight_decay=1e39", r"training\.weight_decay: .*less than or equal to 1"),
        ("training.batch_size_fr=1000000", r"training\.batch_size_fr: .*equal to 65536"),
        ("data.num_workers=1000", r"data\.num_workers: .*less than or equal to 256"),
        ("training.momentum_b=1", r"training\.momentum_b: .*less than 1"),
        ("training.batch_size_fer=1", r"training\.batch_size_fer: .*greater than 1"),
        ("training.eval_every_steps=0", r"training\.eval_every_steps: .*greater than 0"),
        ("training.view_fer=wild", r"training\.view_fer: .*'conventional' or 'extensive'"),
        ("training=5", r"training: .*dictionary.*, got 5"),
        ("training=null", r"training: .*dictionary"),
        ("meta.w_f=.nan", r"meta\.w_f: .*finite number"),
        ("meta.consistency_temperature=0", r"meta\.consistency_temperature: .*greater than 0"),
        ("meta.consistency_threshold=1", r"meta\.consistency_threshold: .*less than 1"),
        ("meta.pseudo_label_threshold=-1", r"meta\.pseudo_label_threshold: .*equal to 0"),
        ("meta.feedback_unit=face", r"meta\.feedback_unit: .*'batch' or 'image'"),
        (
            "meta={feedback_unit: image, feedback: none}",
            r"meta: feedback_unit image needs feedback",
        ),
        ("meta.adaptation_view=both", r"meta\.adaptation_view: .*'plain' or 'augmented'"),
        (
            "meta.feedback=guess",
            r"meta\.feedback: .*'exact', 'trapezoid', 'jvp', 'finite_difference' or 'none'",
        ),
        ("meta.ramp_steps=-1", r"meta: ramp_steps is -1: give 0 or more steps"),
        ("meta={feedback: jvp, feedback_norm: cosine}", r"meta: feedback_norm cosine needs"),
        ("compute.precision=int8", r"compute\.precision: .*'bfloat16' or 'float16'"),
        ("compute.micro_batch_size=1", r"compute: micro_batch_size is 1: batch norm needs 2"),
        ("compute.loss_scale=0", r"compute: loss_scale is 0\.0: give a positive number"),
        ("aug.patches=off", r"aug\.patches: .*'keep', 'cover' or 'none', got False"),
        ("aug.patch_parts=[ears]", r"aug\.patch_parts\.0: .*'eyes', 'nose', 'mouth' or 'forehead'"),
        ("aug.patch_parts=[]", r"aug: patch_parts is empty: set patches to none"),
        ("aug.mouth=all", r"aug\.mouth: .*'corners' or 'middle'"),
        ("aug.patch_probability=0", r"aug\.patch_probability: .*greater than 0"),
        ("aug.patch_probability=1.5", r"aug\.patch_probability: .*less than or equal to 1"),
        ("aug.groups=either", r"aug: either group: set patch_probability below 1"),
        ("network.backbone=vgg", r"network\.backbone: no backbone 'vgg': did you mean vgg19 or"),
        ("network.pretrained=3", r"network\.pretrained: .*valid string"),
        ("network.pretrained=vggface2", r"network: pretrained vggface2 are weights of inception_r"),
        ("data.num_classes=9", r"data\.num_classes: .*7 or 8"),
        ("data.per_class=0", r"data\.per_class: .*greater than 0"),
        ("data.stored_size=8", r"data\.stored_size: .*greater than or equal to 32"),
        ("data.stored_size=9999", r"data\.stored_size: .*less than or equal to 1024"),
        ("data.num_workers=-1", r"data\.num_workers: .*greater than or equal to 0"),
        ("data.test.format=lmdb", r"data\.test\.format: no such format 'lmdb': take rendered"),
        ("data.test.codes=kdef", r"data\.test\.codes: no such codes 'kdef': take names"),
        ("data.test.path=2013", r"data\.test\.path: .*string, got 2013"),
        ("data.test=[1, 2]", r"data\.test: .*dictionary"),
        ("seed=-1", r"seed: .*greater than or equal to 0"),
        ("seed=99999999999999999999", r"seed: .*less than 4294967296"),
        ("method=magic", r"method: no method 'magic': take one of supervised, .*, meta$"),
        ("device=tpu", r"device: .*'auto', 'cpu'"),
        ("name=", r"name: .*string"),
        ("name=''", r"name: .*pattern"),
        ("name=a/../b", r"name: .*pattern"),
        ('name="a\\0b"', r"name: .*pattern"),
        # values that contradict each other
        ("data.view_size=64", r"data: view_size 64 is over stored_size 40"),
        ("data.validation_per_class=null", r"data: give either validation or validation_per_class"),
        (
            "data.validation={format: class_folders}",
            r"data: give either validation or validation_per_class",
        ),
        ("data.balanced=false", r"data: per_class is a balanced draw: leave it out"),
        ("data.percent=0", r"data\.percent: .*greater than 0"),
        ("data.percent=101", r"data\.percent: .*less than or equal to 100"),
        ("data.percent=10", r"data: give either per_class or percent"),
        ("data.ratios=random", r"data: ratios are those of an unbalanced draw"),
    ],
)
def test_impossible_value_is_named_with_file_and_key(tiny: Tiny, change: str, message: str) -> None:
    with pytest.raises(Face2ExpError, match=r"^\S+tiny\.yaml: " + message) as caught:
        tiny(change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["name", "data", "training", "data.labelled", "training.num_steps"])
def test_missing_key_is_named(config_path: Path, tmp_path: Path, key: str) -> None:
    lines = config_path.read_text().splitlines()
    start = next(
        i for i, line in enumerate(lines) if line.strip().startswith(key.split(".")[-1] + ":")
    )
    end = start + 1
    while key in ("data", "training") and lines[end].startswith(" "):
        end += 1
    path = tmp_path / "c.yaml"
    path.write_text("\n".join(lines[:start] + lines[end:]))
    with pytest.raises(Face2ExpError, match=rf"c\.yaml: {key}: missing: add it"):
        load_config(path)


# Files that are no configuration

BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 9) + "]\n" for i in range(1, 25)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no configuration: expected `key: value` lines"),
        (b"# nothing\n", "holds no configuration"),
        (b"- a\n- b\n", "holds no configuration"),
        (b"just text", "holds no configuration"),
        (b"name: [1", "not readable as YAML: while parsing"),
        (b"name: x\n---\nname: y\n", "not readable as YAML: expected a single document"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff", "not readable as YAML"),
        (b"\x00\x01\x02", "not readable as YAML"),
        (b"name: \xff\xfe", "not readable as YAML"),
        (b"? {a: 1}\n: 2\n", "not readable as YAML: while constructing a mapping"),
        (b"a: !!python/object/apply:os.system [ls]", "not readable as YAML: could not determine"),
        (b"a: 2001-99-99", "not readable as YAML: month must be"),
        (b"a: !!float x", "not readable as YAML"),
        (b"a: !!int ''", "not readable as YAML"),
        (b"[" * 2000, "not readable as YAML"),
        (b"a: &a [*a]", "name: missing"),
        (b"1: 2\n", "name: missing"),
        (BOMB.encode() + b"name: *a24\n", "name: .*, got "),
        (BOMB.encode() + b"name: x\n", ""),
    ],
)
def test_file_that_is_no_configuration(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(Face2ExpError, match=r"c\.yaml: " + message) as caught:
        load_config(path)
    assert len(str(caught.value)) < 500 + len(str(path))
    assert "\n" not in str(caught.value)


def test_missing_config_and_folder_in_its_place(tmp_path: Path) -> None:
    for path in (tmp_path / "c.yaml", tmp_path):
        with pytest.raises(Face2ExpError, match="no such config: give a YAML file like those in"):
            load_config(path)


# The data root


def test_data_root_is_the_option_else_the_variable_else_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.delenv("FACE2EXP_DATA", raising=False)
    assert data_root(None) is None
    monkeypatch.setenv("FACE2EXP_DATA", str(tmp_path))
    assert data_root(None) == tmp_path
    assert data_root(tmp_path / "a") == tmp_path / "a"
    monkeypatch.setenv("FACE2EXP_DATA", "")
    assert data_root(None) is None


def test_data_root_that_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Face2ExpError, match=r"--data-root: \S+file is no folder: give the one"):
        data_root(tmp_path / "file")
    monkeypatch.setenv("FACE2EXP_DATA", str(tmp_path / "gone"))
    with pytest.raises(Face2ExpError, match=r"FACE2EXP_DATA: \S+gone is no folder"):
        data_root(None)


def unlabelled(config: RunConfig) -> Source:
    assert config.data.unlabelled is not None
    return config.data.unlabelled


def test_relative_path_without_a_root_and_absolute_path_without_one(
    tiny: Tiny, squares_root: Path
) -> None:
    source = unlabelled(tiny())
    with pytest.raises(Face2ExpError, match="'people' lies below the data root, and none is set"):
        source.read(None)
    assert len(source.read(squares_root)) == 12
    absolute = unlabelled(tiny(f"data.unlabelled.path={squares_root}/people"))
    assert len(absolute.read(None)) == 12


def test_rendered_without_a_path_is_the_embedded_pack() -> None:
    config = load_config(Path("rendered_cpu.yaml"))
    test = config.data.test.read(None)
    assert np.bincount(test.known_labels()).tolist() == [len(test) // 7] * 7  # a balanced part
    assert unlabelled(config).read(None).labels is None


def test_the_embedded_unlabelled_faces_have_their_own_landmarks() -> None:
    """Found by MTCNN in nearly all of them, a few hundredths of the face from the true ones."""
    faces = unlabelled(load_config(Path("rendered_cpu.yaml"))).read(None)
    assert faces.landmarks is not None
    assert faces.canonical is not None
    assert faces.canonical.mean() < 0.02
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    with (shipped("data/rendered") / "fr_truth.csv").open() as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    truth = np.array(
        [
            [[float(rows[image][f"{name}_{axis}"]) for axis in "xy"] for name in names]
            for image in (faces.images.ids[row] for row in faces.rows)
        ]
    )
    between_eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    errors = np.linalg.norm(faces.landmarks - truth, axis=2).mean(1) / between_eyes
    assert np.median(errors[~faces.canonical]) < 0.08
    # those of an average face lie wherever the face does not
    assert np.median(np.linalg.norm(64 * CANONICAL_POINTS - truth, axis=2).mean(1)) > 7


def test_home_of_a_user_who_does_not_exist(tiny: Tiny, tmp_path: Path) -> None:
    source = unlabelled(tiny("data.unlabelled.path=~nobody-of-this-name/x"))
    with pytest.raises(Face2ExpError, match="~nobody-of-this-name/x: no such file or folder"):
        source.read(tmp_path)
