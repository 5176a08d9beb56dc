"""The page `scale.md`: what large sets cost, from what the benchmarks measured."""

import json
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).parents[2] / "results" / "benchmarks"
FACES = {"WebFace42M": 42_000_000, "WebFace260M": 260_000_000}
SIZES = ("112", "256")
CORES, DAYS = 32, 2  # of a machine, and of patience: examples
LIST_BYTES = {
    "RecordIO": 3 * 8,
    "order": 8,
}  # offset, number, person; position: int64 each
WINDOW = 8  # shards, the default of `data.stream_window`
GPU_IMAGES = 1000  # a second, an example
DEEP_LEARNING_EXAMPLES = (
    "https://github.com/NVIDIA/DeepLearningExamples/tree/master/PyTorch/"
    "Classification/ConvNets"
)
DISK_READS = {
    "a spinning disk": 100,
    "an SSD": 10_000,
}  # at random places, a second: examples


def read(name: str) -> dict[str, Any]:
    """What a benchmark stored."""
    stored: dict[str, Any] = json.loads((MEASURED / f"{name}.json").read_text())
    return stored


def hours(images: int, rate: float) -> float:
    """Of one core, or of whatever does `rate` images a second."""
    return images / rate / 3600


def machines(core_hours: float) -> int:
    """To be done within `DAYS`."""
    return max(1, -(-round(core_hours * 10) // (10 * 24 * DAYS * CORES)))


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def page() -> str:
    """The page as MyST text."""
    shards, landmarks, pipeline, feeding = (
        read("shards"),
        read("landmarks"),
        read("input_pipeline"),
        read("feeding"),
    )
    photos = shards["photos"]["sizes"]
    machine = shards["environment"]["machine"]
    per_shard = shards["settings"]["images_per_shard"]
    find = landmarks["speed"]["loose"]["images_per_second"]["face2exp"]
    views = pipeline["speed"]["fr"]["face2exp"]["images_per_second"]
    count = shards["stream"]["images"]
    stored = {
        size: photos[size]["tar_bytes"] + photos[size]["table_bytes"]
        for size in SIZES
    }

    core = [["landmarks of 256 px crops", f"{find:,.0f}", "`landmarks.json`"]]
    for size in SIZES:
        rate = photos[size]["shard_images_per_second"]
        core.append(
            [f"sharding with `--size {size}`", f"{rate:,.0f}", "`shards.json`"]
        )
    for size in SIZES:
        rate = photos[size]["stream_images_per_second"]
        core.append(
            [f"streaming {size} px, decoded", f"{rate:,.0f}", "`shards.json`"]
        )
    core.append(
        [
            "decoding 256 px and Aug on the CPU",
            f"{views:,.0f}",
            "`input_pipeline.json`",
        ]
    )

    space = [
        [
            f"{size} px",
            f"{photos[size]['jpeg_bytes'] / 1000:.1f} kB",
            f"{stored[size] / 1000:.1f} kB",
            *(
                f"{images * stored[size] / 1e12:.2f} TB"
                for images in FACES.values()
            ),
        ]
        for size in SIZES
    ]
    steps = {"landmarks": find} | {
        f"sharding at {size} px": photos[size]["shard_images_per_second"]
        for size in SIZES
    }
    work = [
        [step]
        + [
            f"{hours(images, rate):,.0f} h = {hours(images, rate) / CORES:,.1f} h on {CORES} cores"
            f" ({machines(hours(images, rate))})"
            for images in FACES.values()
        ]
        for step, rate in steps.items()
    ]
    lists = {
        "image files": shards["photos"]["listing_bytes"] + LIST_BYTES["order"],
        "RecordIO": LIST_BYTES["RecordIO"] + LIST_BYTES["order"],
    }
    memory = [
        [
            kind,
            f"{each:.0f} B",
            *(f"{images * each / 1e9:.1f} GB" for images in FACES.values()),
        ]
        for kind, each in lists.items()
    ]
    reads = [
        [
            disk,
            f"{rate:,}",
            *(f"{hours(images, rate):,.0f} h" for images in FACES.values()),
        ]
        for disk, rate in DISK_READS.items()
    ]
    cores = {
        way: measured["images_per_second_per_core"]
        for way, measured in feeding["core"].items()
    }
    gpu, gpus = feeding["gpu"], ("A100", "H100")
    feeds = [
        [
            name,
            f"{gpu[name]['steps_per_second']:.0f}",
            f"{gpu[name]['images_read_per_second']:,}",
            *(
                f"{gpu[name]['images_read_per_second'] / rate:.1f}"
                for rate in cores.values()
            ),
        ]
        for name in gpus
    ]
    fer, fr = feeding["settings"]["batch"]
    busy = (
        ", on a machine that was busy with other work"
        if feeding["settings"]["machine_was_busy"]
        else ""
    )
    fed = table(
        ["GPU", "steps/s", "images/s", "cores that decode", "and make views"],
        feeds,
    )
    estimate = gpu["share_of_most"]
    most = {
        name: gpu[f"{name.lower()}_most_operations_per_second"] / 1e12
        for name in gpus
    }
    kept = {
        kind: shards["stream"]["memory"][kind] for kind in ("main", "children")
    }
    largest = max(FACES.values())
    return f"""\
# What 260 million faces cost

A page to plan with. Every figure is measured on {machine["cores"]} cores of one machine
({machine["processor"]}, one thread a process) and stored in `results/benchmarks/` with its settings
and versions, or computed from such a figure by the formula beside it. What is neither is called an
example or an estimate. Put your own figures in: `python benchmarks/shards.py --photos PATH` measures your faces on
your machine.

## What one core does

{table(["work", "images/s", "measured in"], core)}

The faces of the shards are {shards["photos"]["images"]:,} photographs of LFW, which are smaller than
256 px: enlarged ones compress well. Sharp faces of that size may take half as much again. The source
lay in the page cache; what a disk adds stands below.

## Space

Bytes = images × bytes of an image in its tar (the JPEG at quality 90, its JSON, two headers of 512
bytes, padding) and in its table.

{table(["size", "JPEG", "in a shard", *FACES], space)}

At 112 px a third of the tar is headers and padding, which is the price of a format that every tool
reads. Shards = images / {per_shard:,}: {FACES["WebFace42M"] // per_shard:,} and
{FACES["WebFace260M"] // per_shard:,} files, of
{stored["256"] * per_shard / 1e6:,.0f} MB each at 256 px, instead of as many files as faces.

## Time

Core hours = images / (images/s) / 3600. In brackets the machines of {CORES} cores that are done
within {DAYS} days: core hours / ({CORES} × {24 * DAYS} h), rounded up. Faces do not wait for each
other, so twice the cores take half the time; two cores were measured, more are an assumption.

{table(["work", *FACES], work)}

Sharding shuffles once, so it reads its source at random places. Hours = images / (reads/s), beside
the core hours and not in their place; the reads a second are examples:

{table(["source on", "reads/s", *FACES], reads)}

From a spinning disk, take `--keep-order`, which reads from beginning to end, and a larger
`data.stream_window`.

## Memory

Training needs none that grows. On {count:,} records a stream with
{shards["settings"]["workers"]} workers held {kept["main"]["max_mb"]:,.0f} MB in its main process
and {kept["children"]["max_mb"]:,.0f} MB in both workers, nearly all of it torch itself; over the
last {1 - shards["stream"]["resumed_at"]:.0%} of the epoch the main process grew by
{kept["main"]["last_mb"] - kept["main"]["first_mb"]:.1f} MB and the workers by
{kept["children"]["last_mb"] - kept["children"]["first_mb"]:.1f} MB. It was killed twice on the way;
{shards["stream"]["seen_once"]:,} images came once, {shards["stream"]["lost"]} were lost,
{shards["stream"]["repeated"]} repeated. The index itself is one line a shard.

Sharding keeps the list of its source, and 8 bytes an image for the order. Bytes = images × bytes of
a listed image:

{table(["source", "an image", *FACES], memory)}

So shard a large set in pieces, one archive or outer folder at a time, into one folder, and name all
of them in the config. Each piece is shuffled within itself, and a stream takes its shards from all
pieces:

```bash
for piece in WebFace260M/*; do face2exp data shard "$piece" --size 256 --out shards; done
```

```yaml
data:
  unlabelled: {{format: shards, path: shards, part: "*"}}
```

A worker that writes a shard holds the list of that shard alone.

## Feeding a GPU

A step of {fer} + {fr} images at 224 px reads {fer + fr} of them, shows {fer + 2 * fr} views and costs
{gpu["forward_passes_per_step"]:.0f} forward passes. One core decodes {cores["decoding"]:,.0f} images/s of
256 px, and {cores["decoding_and_views"]:,.0f} where it makes the views, too (`feeding.json`, in core
time{busy}). Cores = (images/s that the GPU reads) / (images/s of a core):

{fed}

**What a GPU reads is an estimate: we had none.** NVIDIA publishes {8 * gpu["a100_training_images_per_second"]:,.0f} images/s for the training of
ResNet-50 in mixed precision in PyTorch on eight A100
([DeepLearningExamples]({DEEP_LEARNING_EXAMPLES})), which is {estimate:.0%} of the {most["A100"]:.0f} TFLOP/s that
the data sheet states for each. The H100 is taken to reach the same share of its {most["H100"]:.0f}. It may
well be off by a factor of two, so plan twice the cores; `python -m benchmarks.gpu pipeline` measures it
on your machine ({{doc}}`scale_it`).

On a GPU the library makes the views there, in batches, so the column of cores that decode is the one
that counts: `data.num_workers: 2` is a fair start; labelled and unlabelled faces have so many each. Where
many GPUs share few cores, store the faces smaller (`face2exp data shard --size`) before anything else.
Decoding on the GPU by nvJPEG, which torchvision offers, takes no core but some of the GPU's time; the
library does not do it, and the same command tells whether it would pay.

At {GPU_IMAGES:,} images/s, an example, there come from the disk
(images/s) × (bytes in a shard) = {GPU_IMAGES * stored["256"] / 1e6:.0f} MB/s at 256 px, in sequence:
the next window is read while one is used, so the page cache wants
2 × {WINDOW} × {stored["256"] * per_shard / 1e6:,.0f} MB =
{2 * WINDOW * stored["256"] * per_shard / 1e9:.1f} GB. An epoch of {largest / 1e6:.0f} million takes
{hours(largest, GPU_IMAGES):,.0f} h at that rate.

The batches of all GPUs come from one window. GPUs of one machine share its page cache; each further
machine reads the whole set once an epoch, so give each a copy on its own disks, or expect
(machines) × {largest * stored["256"] / 1e12:.1f} TB an epoch from what they share.
"""
