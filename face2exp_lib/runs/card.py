"""A model card written from what a run left behind; it adds no claim of its own.

The headings are those of Mitchell et al., "Model Cards for Model Reporting" (FAccT 2019).
"""

from pathlib import Path
from typing import Any

from face2exp_lib.config import Network, RunConfig, config_digest, load_config
from face2exp_lib.data.draws import MISSING
from face2exp_lib.data.formats import FORMATS
from face2exp_lib.evaluation.metrics import MEASURES, evaluation_path, read_evaluation
from face2exp_lib.methods import METHODS
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json
from face2exp_lib.training.pretrain_config import IdentityData, PretrainConfig
from face2exp_lib.training.run_changes import read_changes, told, told_set

ROLES = {
    "labelled": "labelled, D_FER: what training learns from",
    "long_tailed": "labelled pool, D'_FER, from which D_FER is drawn",
    "unlabelled": "unlabelled, D_FR",
    "validation": "validation: chose the checkpoint",
    "test": "test",
}
ON_OTHERS = "evaluation-on-*.json"  # of `evaluate --on`
FEW_IMAGES = 100  # of a class: below, an accuracy says little
LAW = """\
**Recognising emotions is restricted by law in places.** In the European Union, Regulation (EU)
2024/1689 (the AI Act), Article 5(1)(f), prohibits AI systems that infer emotions of people at work
and in education, except for medical or safety reasons. Other systems for emotion recognition count
as high-risk there (Annex III, 1(c)), and people who are exposed to them must be told (Article
50(3)). Faces are biometric data in many countries. This is no legal advice: ask before any use
beyond research."""
USE = """\
Research and teaching: comparing methods that learn expressions from few, unevenly spread labels.
The input is one face, upright, cropped and roughly frontal.

Out of scope: deciding anything about a person. The network names the apparent expression in a
picture as its annotators would; it does not know what the person feels. Not for surveillance,
hiring, teaching, policing, border control, medical or safety decisions."""


def model_card(run_dir: Path | str) -> str:
    """The card as Markdown.

    Raises:
        Face2ExpError: if the folder is no finished run, or was evaluated on no part.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "config.yaml").is_file():
        raise Face2ExpError(f"{run_dir}: no run directory: `face2exp train` makes one")
    config = load_config(run_dir / "config.yaml")
    if not (run_dir / "finished.json").exists():
        raise Face2ExpError(f"{run_dir}: the run has not finished: a card is about a finished one")
    finished = read_json(run_dir / "finished.json", "label_budget")
    others = sorted(path.stem.removeprefix("evaluation-") for path in run_dir.glob(ON_OTHERS))
    evaluations = {
        split: read_evaluation(evaluation_path(run_dir, split))
        for split in ("test", "val", *others)
        if evaluation_path(run_dir, split).exists()
    }
    if not evaluations:
        raise Face2ExpError(
            f"{run_dir}: not evaluated: run `face2exp evaluate {run_dir} --split test` first"
        )
    sections = [
        _head(config, finished),
        f"## Intended use\n\n{USE}\n\n{LAW}",
        _data(config, run_dir),
        *(_evaluation(split, result) for split, result in evaluations.items()),
        _limits(evaluations),
        f"## Terms of the weights\n\n{weights_terms(config)}",
        _making(config, run_dir),
    ]
    return "\n\n".join(sections) + "\n"


def _head(config: RunConfig, finished: dict[str, Any]) -> str:
    budget = finished["label_budget"]
    facts = {
        "Task": f"the expression of a face, one of {config.data.num_classes}",
        "Method": METHODS[config.method].title,
        "Network": f"{config.network.backbone}, from {_first_weights(config.network)}",
        "Input": (
            f"RGB face resized to {config.data.stored_size} px, of which the centre "
            f"{config.data.view_size} px are seen"
        ),
        "Seed": f"{config.seed}; one run: another seed gives another network",
        "Labels used": (
            f"{budget['total']:,} ({budget['train']:,} to train, {budget['validation']:,} to "
            "choose the checkpoint)"
        ),
    }
    if "image_passes" in finished:
        facts["Image passes"] = f"{finished['image_passes']:,}"
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    return "\n".join([f"# Model card: {config.name}, {facts['Method']}", "", *lines])


def _first_weights(network: Network) -> str:
    named = {
        "none": "random weights",
        "imagenet": "ImageNet weights",
        "vggface2": "VGGFace2 weights",
        "casia-webface": "CASIA-WebFace weights",
    }
    return named.get(network.pretrained, f"the weights in {network.pretrained}")


def _data(config: RunConfig, run_dir: Path) -> str:
    lines = ["## Data", ""]
    if (run_dir / "data.json").exists():
        record = read_json(run_dir / "data.json", "sets", "left_out")
        lines += ["| set | images | digest of the list |", "|---|---|---|"]
        for name, role in ROLES.items():
            found = record["sets"].get(name)
            if found:
                lines.append(f"| {role} | {found['num_images']:,} | `{found['digest']}` |")
        left_out = [
            f"- left out of the {name.replace('_', ' ')} set: {count:,} ({reason})"
            for name, reasons in record["left_out"].items()
            for reason, count in reasons.items()
            if count
        ]
        left_out += [
            f"- **the {name} set shows no {', '.join(classes)}**: {MISSING[name]}"
            for name, classes in record.get("missing_classes", {}).items()
        ]
        lines += ["", *left_out] if left_out else []
    else:
        lines.append("The run is of a version that kept no record of its data.")
    lines += ["", "Licence and state of the sets that trained it or chose its checkpoint:", ""]
    lines += [f"- {title}: {state}" for title, state in set_terms(config).items()]
    return "\n".join(lines)


def _evaluation(split: str, result: dict[str, Any]) -> str:
    intervals = result["intervals"]
    bootstrap = intervals["bootstrap"]
    level = f"{100 * intervals['level']:.0f} %"
    titles = {"test": "the test part", "val": "the validation part"}
    lines = [f"## Results on {titles.get(split) or 'another set: ' + result['set']}", ""]
    if split == "val":
        lines += ["These images chose the checkpoint: the figures flatter it.", ""]
    lines += [f"| measure | value, % | {level} interval |", "|---|---|---|"]
    lines += [
        f"| {title} | {result[name]:.1f} | {_range(bootstrap[name])} |"
        for name, title in MEASURES.items()
    ]
    lines += ["", f"| class | images | accuracy, % | {level} interval |", "|---|---|---|---|"]
    for name, row in zip(result["class_names"], result["confusion_matrix"], strict=True):
        if name in result["missing_classes"]:
            lines.append(f"| {name} | 0 | not measured | |")
        else:
            accuracy = result["per_class_accuracy"][name]
            interval = _range(intervals["per_class_accuracy"][name])
            lines.append(f"| {name} | {sum(row):,} | {accuracy:.1f} | {interval} |")
    units = {"image": "images within classes", "identity": "whole persons"}[bootstrap["unit"]]
    lines += [
        "",
        f"{result['num_images']:,} images. The measures' intervals draw {units} anew "
        f"({bootstrap['num_units']:,} of them, {bootstrap['replicates']:,} times); the classes' "
        "are Wilson's and take images as independent. Neither covers the chance of another seed.",
    ]
    if result["missing_classes"]:
        missing = ", ".join(result["missing_classes"])
        lines.append(f"No image shows {missing}: the measures are over the other classes.")
    views = "the image and its mirror image, averaged" if result["flip"] else "the image alone"
    lines.append(f"Each prediction is made from {views}.")
    if copies := result.get("copies_of_training_images"):
        lines.append(f"**{copies:,} of the images are exact copies of ones that trained it.**")
    if "test_readings" in result:
        what = "The test part" if split == "test" else "The set"
        lines.append(
            f"{what} was read {_times(result['test_readings'])} (last at {result['evaluated_at']})."
        )
    return "\n".join(lines)


def _limits(evaluations: dict[str, dict[str, Any]]) -> str:
    result = next(iter(evaluations.values()))
    per_class = result["per_class_accuracy"]
    worst, best = (choose(per_class, key=per_class.__getitem__) for choose in (min, max))
    lines = [
        "## Limits and bias",
        "",
        f"- The classes are not served alike: {best} {per_class[best]:.1f} %, {worst} "
        f"{per_class[worst]:.1f} %; standard deviation over the classes "
        f"{result['std_class_accuracy']:.1f}.",
        f"- {_most_confused(result)}",
    ]
    rows = zip(result["class_names"], result["confusion_matrix"], strict=True)
    few = [name for name, row in rows if 0 < sum(row) < FEW_IMAGES]
    if few:
        lines.append(
            f"- Fewer than {FEW_IMAGES} images were there to measure {', '.join(few)}: see the "
            "intervals."
        )
    if result["missing_classes"]:
        lines.append(f"- How well it names {', '.join(result['missing_classes'])} is unknown.")
    lines += [
        "- Nothing was measured by age, sex, skin colour, culture or health: whether it serves "
        "people alike is unknown.",
        "- It always answers with one of its classes, also for a picture without a face. Its "
        "probabilities are not calibrated.",
        "- Pictures that are unlike its training data (other cameras, poses, covered faces) may "
        "be named worse than the tables say.",
    ]
    return "\n".join(lines)


def _most_confused(result: dict[str, Any]) -> str:
    names, shares = result["class_names"], []
    for row, counts in enumerate(result["confusion_matrix"]):
        for column, count in enumerate(counts):
            if row != column and sum(counts):
                shares.append((count / sum(counts), names[row], names[column]))
    share, true, predicted = max(shares)
    if share == 0:
        return "No image was taken for another class."
    return f"Most often confused: {100 * share:.0f} % of {true} are taken for {predicted}."


def _making(config: RunConfig, run_dir: Path) -> str:
    lines = ["## How it was made", ""]
    if (run_dir / "environment.json").exists():
        made = read_json(run_dir / "environment.json", "face2exp_lib", "python", "packages")
        machine = made.get("machine", {})
        packages = ", ".join(f"{name} {version}" for name, version in made["packages"].items())
        lines += [
            f"- face2exp_lib {made['face2exp_lib']}, commit {made.get('git_commit') or 'unknown'}",
            f"- Python {made['python']}, {packages}",
            f"- {machine.get('system')}, {machine.get('processor')}, {machine.get('cores')} cores, "
            f"GPUs: {', '.join(machine.get('gpus', [])) or 'none'}",
        ]
    for change in read_changes(run_dir):
        what = [told({key: (old, new)}) for key, (old, new) in change["config"].items()]
        what += [f"{name} set: {told_set(found)}" for name, found in change["sets"].items()]
        lines.append(f"- from step {change['step']:,} on with changes: {'; '.join(what)}")
    lines += [
        f"- configuration {config_digest(config)}:",
        "",
        "```yaml",
        (run_dir / "config.yaml").read_text(encoding="utf-8").rstrip(),
        "```",
    ]
    return "\n".join(lines)


def _range(interval: list[float]) -> str:
    return f"{interval[0]:.1f} to {interval[1]:.1f}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"**{count} times: the last figures were not its first**"


FACENET = (
    "The training began with facenet-pytorch's weights of {backbone}, made from the faces of %s. "
    "The library is under the MIT licence; the faces are for non-commercial research, and whether "
    "weights made from them are bound by that is not settled."
)
STARTS = {
    "none": "The training began with random weights: no others are in them.",
    "imagenet": (
        "The training began with torchvision's ImageNet weights of {backbone} (IMAGENET1K_V1). The "
        "library is under the BSD 3-Clause licence; ImageNet's images are for non-commercial "
        "research and education, and whether weights made from them are bound by that is not "
        "settled."
    ),
    "vggface2": FACENET % "VGGFace2",
    "casia-webface": FACENET % "CASIA-WebFace",
}
FROM_FILE = "The training began with the weights in {pretrained}, whose own terms hold as well."


def weights_terms(config: RunConfig | PretrainConfig) -> str:
    """Where the weights come from and what that may forbid, in a paragraph."""
    network = config.network
    start = STARTS.get(network.pretrained, FROM_FILE)
    start = start.format(backbone=network.backbone, pretrained=network.pretrained)
    return " ".join([start, *(f"{title}: {state}" for title, state in set_terms(config).items())])


def set_terms(config: RunConfig | PretrainConfig) -> dict[str, str]:
    """Licence and state of each set that trained or chose the weights, by its title."""
    data = config.data
    if isinstance(data, IdentityData):
        sources = [data.faces]
    else:
        given = (data.labelled, data.unlabelled, data.validation)
        sources = [source for source in given if source is not None]
    adapters = [FORMATS[source.format] for source in sources]
    return {adapter.title: " ".join(adapter.state.split()) for adapter in adapters}
