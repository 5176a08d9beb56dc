"""The page `data_sets.md`: what the adapters say about themselves."""

from pathlib import Path

import yaml

from face2exp_lib.data.formats import FORMATS
from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.sets.labels import CODES, LEFT_OUT, class_names

INTRODUCTION = """\
# Data sets

Which layout, which label order, which part? `face2exp data inspect PATH` looks at what you have and
prints the format, the parts, the class counts beside the published ones, and what is wrong: counts
that fit another label order better, mixed-up parts, missing and broken files. `--html FILE` writes
the same with sample images; `--skip-bad FILE` writes the list of what cannot be used.

In a configuration a set is a `format`, a `path` below the data root, a `part` and, where nothing
else says it, what its labels mean, `codes`:

```yaml
data:
  labelled: {format: affectnet, path: AffectNet, part: train}
  test: {format: affectnet, path: AffectNet, part: val}
  unlabelled: {format: identity_folders, path: WebFace260M}
```

Any labelled set goes with any unlabelled one. On the command line the same set is `PATH` or
`PATH:PART`; `inspect`, `audit`, `shard`, `landmarks` and `evaluate --on` recognise its layout, and
read of it what training reads. A set is what lies at its path, however that is spelt: `.`, `~`,
links and `..` make no other set of it, and two sets of one name are told apart by the folders above
them.

## What is read, asked, refused and left out

Nothing is dropped or guessed without a word. Every row of every list and every file of every folder
is an image of the set, or is counted with its reason, or stops the verb with its file and line.
"""
NUMBERS = """\
A number means another expression in each set. `rafdb_from_0` and the two `_from_1` are tables that
people count from another number; `alphabetical` is the order in which torchvision and Keras number
folders:
"""
LANDMARKS = """\
## Landmarks and crops

Aug needs five points of each face: the eyes, the nose tip and the corners of the mouth. Sets that
bring them need nothing more. For the others MTCNN looks for them, once:

```sh
pip install 'face2exp-lib[landmarks]'
face2exp data landmarks WebFace260M --out webface.parquet
```

The table has a row for each image: whether a face was found, how surely, its box, its points and
the size of the image. A job that was killed goes on when it is started again; `--workers N` takes
processes, `--engine ray` a Ray cluster, and the table is the same, byte for byte. `--faces photo`
is for images in which the face is small. Points that cannot be those of a face, such as eyes below
the mouth, are marked as implausible. A source names the table:

```yaml
unlabelled:
  {format: identity_folders, path: WebFace260M, landmarks: webface.parquet, crop: face}
```

`crop: face` cuts every image to a square round the box with a tenth of its longer side as margin;
beyond the image its edge pixels go on. Without it images stay whole. Where no face was found, or an
implausible one, the image stays whole and gets the median points of the others; the run's
`data.json` counts these. A table is refused where the images are not those that it was made for.
"""
CLASSES = """\
## A set that lacks a class

A run learns from, and is evaluated on, sets that show two expressions or more; who lacks one is
told so by name.

| what lacks it | what becomes of it |
|---|---|
| the labelled set | draws are balanced over the other classes; the network keeps its output |
| the validation part | mean and std that choose the checkpoint are over the other classes |
| the test part, another set | `missing_classes` names it; it has no accuracy, and is in no mean |

Tables, figures, comparisons and the model card name it, too. A validation part that takes all
images of a class from training is an error: lower `data.validation_per_class`.

## Evaluate a run on another set

`evaluate --on` takes what `data inspect` understands, as `PATH` or `PATH:PART`, and so measures
a network across data sets, or on faces of your own:

```sh
face2exp evaluate runs/mine --on FER2013:test
face2exp evaluate runs/mine --on ExpW --landmarks expw.parquet --crop face --skip-bad bad.csv
```

Labels map by name; contempt is left out and counted where the run has seven classes. A run that
was trained on crops wants the same crop: make the table with `data landmarks`. `--skip-bad`
leaves out what cannot be read or used, and lists it.

A set is read once, as the test part is: the reading is noted before it begins
(`readings-on-NAME.jsonl` in the run's folder), a second call shows what the first one wrote
(`evaluation-on-NAME.json`, `predictions-on-NAME.parquet`), and other options are refused. `NAME`
has digits that tell sets of one name apart: they stand for the set's place and its list. The run's
own test part counts as such however it is named. Where the run's data are here, exact copies of
images whose labels it used are counted, and the command warns.
"""
LABELLED = tuple(codes for codes in CODES if codes != "names")


def page() -> str:
    """The page as MyST text."""
    return "\n".join(
        [
            INTRODUCTION,
            _rules(),
            NUMBERS,
            _codes(),
            LANDMARKS,
            CLASSES,
            *map(_section, FORMATS.values()),
        ]
    )


def _rules() -> str:
    """`data_rules.yaml` as a table."""
    path = Path(__file__).parents[1] / "data_rules.yaml"
    sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = ["| What there is | What becomes of it |", "|---|---|"]
    for title, entries in sections.items():
        rows.append(f"| **{title}** | |")
        rows += [
            f"| {entry['what']} | {entry['becomes']} |" for entry in entries
        ]
    return "\n".join([*rows, ""])


def _codes() -> str:
    names = class_names(8)
    rows = [
        f"| `codes` | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for codes in LABELLED:
        number_of = {
            label.name.lower(): code for code, label in CODES[codes].items()
        }
        cells = [number_of.get(name, "") for name in names]
        rows.append(f"| `{codes}` | {' | '.join(cells)} |")
    left = "; ".join(
        f"`{codes}`: {', '.join(f'{code} {meaning}' for code, meaning in table.items())}"
        for codes, table in LEFT_OUT.items()
        if codes != "names"
    )
    return "\n".join(
        [*rows, "", f"No expression, left out and counted: {left}.", ""]
    )


def _section(adapter: Format) -> str:
    lines = [f"## {adapter.title}", "", f"**State.** {adapter.state}", ""]
    lines += [
        "```text",
        adapter.layout,
        "```",
        "",
        "```yaml",
        f"labelled: {adapter.example}",
    ]
    if not adapter.codes:
        lines[-1] = f"unlabelled: {adapter.example}"
    lines += ["```", ""]
    if adapter.codes and adapter.codes != "names":
        lines += [f"Label codes: `{adapter.codes}`.", ""]
    if adapter.notes:
        lines += [adapter.notes, ""]
    if adapter.published and adapter.name != "class_folders":
        lines += [_counts(adapter), ""]
    return "\n".join(lines)


def _counts(adapter: Format) -> str:
    names = [
        name
        for name in class_names(8)
        if any(p.counts.get(name) for p in adapter.published)
    ]
    rows = [
        f"| published | {' | '.join(names)} | total |",
        "|---" * (len(names) + 2) + "|",
    ]
    for published in adapter.published:
        counts = [f"{published.counts.get(name, 0):,}" for name in names]
        total = sum(published.counts.values())
        rows.append(f"| {published.title} | {' | '.join(counts)} | {total:,} |")
    return "\n".join(rows)
