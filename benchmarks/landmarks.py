"""How fast and how well landmarks are found, beside facenet-pytorch's own MTCNN.

    python benchmarks/landmarks.py --json results/benchmarks/landmarks.json [--data-root DIR]

Both detectors run the same three networks with the same weights, on one thread, in batches of 32,
in turn; the ratio is the median of the repeats' ratios. Truth is that of rendered faces of 256 px,
drawn for this: as they are ("loose"), and cut as the archives of FR faces are ("tight", after the
template of `face2exp_lib.data.sets.landmarks`), where a face fills the image and its box leaves it.
Choices are made on one seed; what is reported comes from another. With --data-root, numbers on
FER2013 and LFW, where nobody knows the truth: how far the two are apart, and how far each moves its
points when the image is mirrored.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from face2exp_lib.data.sets.imagefiles import list_images
from face2exp_lib.data.sets.images import FileImages, decode_whole
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS, implausible
from face2exp_lib.preparation import mtcnn
from face2exp_lib.preparation.mtcnn import SEARCHES, Detector
from face2exp_lib.rendering import FaceSpec, render_face
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json

TUNING_SEED, REPORTED_SEED = 61001, 61002  # of no pack and no other benchmark
SIZE = 256  # px
BATCH = 32
TIMED = 64  # images a repeat
FAR = 0.25  # interocular distances: a face that is as good as missed
REAL_SETS = {"LFW": "lfw", "FER2013 (test)": "validation"}
MARGIN = 0.25  # of the image, round images for facenet-pytorch
CHANGES: dict[str, tuple[float, ...]] = {
    "margin": (0.0, 0.5),
    "smallest": (0.3, 0.5),
    "canvas": (96, 160),
    "boxes": (2, 8),
}
MIRRORED = [1, 0, 2, 4, 3]  # where a point stands in a mirrored face

Find = Callable[[list[Image.Image]], np.ndarray]
"""Images of one size -> (N, 5, 2) px, NaN where no face was found."""


def draw(seed: int, count: int, cache: Path) -> tuple[list[Image.Image], np.ndarray]:
    """Rendered faces and their points (N, 5, 2)."""
    path = cache / f"faces-{seed}-{count}.npz"
    if not path.exists():
        spec = FaceSpec(
            seed=seed, purpose="landmarks benchmark", count=count, size=SIZE, num_identities=10_000
        )
        drawn = [render_face(spec, index) for index in tqdm(range(count), desc=f"draw {seed}")]
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            images=np.stack([image for image, _ in drawn]),
            points=np.stack([record.landmarks for _, record in drawn]),
        )
    with np.load(path) as held:
        return [Image.fromarray(pixels) for pixels in held["images"]], held["points"]


def tight(images: list[Image.Image], points: np.ndarray) -> tuple[list[Image.Image], np.ndarray]:
    """The same faces as large as in an aligned archive, enlarged to the same size."""
    eyes_across = CANONICAL_POINTS[1, 0] - CANONICAL_POINTS[0, 0]
    eyes_y, mouth_y = CANONICAL_POINTS[0, 1], CANONICAL_POINTS[3, 1]
    cut, moved = [], []
    for image, of_image in zip(images, points, strict=True):
        eyes, mouth = of_image[:2].mean(0), of_image[3:].mean(0)
        across, down = np.hypot(*(of_image[1] - of_image[0])), np.hypot(*(mouth - eyes))
        side = round(min(max(across / eyes_across, down / (mouth_y - eyes_y)), SIZE))
        corner = np.round(eyes - [0.5 * side, eyes_y * side]).clip(0, SIZE - side)
        left, top = corner.astype(int).tolist()
        box = image.crop((left, top, left + side, top + side))
        cut.append(box.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        moved.append((of_image - corner) * SIZE / side)
    return cut, np.stack(moved)


def facenet(margin: float = 0, mode: str = "constant") -> Find:
    """facenet-pytorch's batched `detect` at its defaults, of images with a margin round them."""
    from facenet_pytorch import MTCNN

    detector = MTCNN()

    def find(images: list[Image.Image]) -> np.ndarray:
        beyond = round(margin * max(images[0].size))
        if beyond:
            images = [_framed(image, beyond, mode) for image in images]
        found = np.full((len(images), 5, 2), np.nan)
        for index, points in enumerate(detector.detect(images, landmarks=True)[2]):
            if points is not None:
                found[index] = points[0]
        return found - beyond

    return find


def _framed(image: Image.Image, beyond: int, mode: str) -> Image.Image:
    frame = ((beyond, beyond), (beyond, beyond), (0, 0))
    if mode == "constant":
        return Image.fromarray(np.pad(np.asarray(image), frame, constant_values=128))
    how: Any = mode
    return Image.fromarray(np.pad(np.asarray(image), frame, how))


def ours(**changes: Any) -> Find:
    """`Detector`, with a first search that is changed."""
    detector = Detector()
    first, *rest = detector.searches
    detector.searches = (replace(first, **changes), *rest)
    return lambda images: detector.detect(images).points


def run(find: Find, images: list[Image.Image]) -> np.ndarray:
    """In batches."""
    return np.concatenate([find(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])


def distances(found: np.ndarray, other: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N,) mean distance of the five points, in interocular distances of the truth."""
    interocular = np.hypot(*(truth[:, 1] - truth[:, 0]).T)
    away = found - other
    of_faces: np.ndarray = np.hypot(away[..., 0], away[..., 1]).mean(1) / interocular
    return of_faces


def errors(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Rates and the normalised error: mean distance over the five points by the interocular one."""
    away = distances(found, truth, truth)
    seen = np.isfinite(away)
    return {
        "found": float(seen.mean()),
        "mean_error": float(away[seen].mean()),
        "median_error": float(np.median(away[seen])),
        "ninetieth_percentile": float(np.quantile(away[seen], 0.9)),
        f"farther_than_{FAR}": float((away[seen] > FAR).mean()),
    }


def speed(images: list[Image.Image], repeats: int) -> dict[str, Any]:
    """images/s of both, in turn."""
    finders = {"facenet_pytorch": facenet(), "face2exp": ours()}
    rates: dict[str, list[float]] = {name: [] for name in finders}
    for repeat in tqdm(range(-1, repeats), desc="speed"):
        for name, find in finders.items():
            begun = time.perf_counter()
            run(find, images[:TIMED])
            if repeat >= 0:  # the first round warms up
                rates[name].append(len(images[:TIMED]) / (time.perf_counter() - begun))
    ratios = [b / a for a, b in zip(*rates.values(), strict=True)]
    return {
        "images_per_second": {name: round(statistics.median(r), 2) for name, r in rates.items()},
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "smallest": round(min(ratios), 2),
            "largest": round(max(ratios), 2),
        },
        "repeats": repeats,
    }


def variants(sets: dict[str, tuple[list[Image.Image], np.ndarray]]) -> list[dict[str, Any]]:
    """What the choices were made by."""
    finders: dict[str, Callable[[], Find]] = {"facenet-pytorch": facenet, "chosen": ours}
    for mode in ("constant", "edge", "reflect"):
        name = f"facenet-pytorch, margin {MARGIN} {mode}"
        finders[name] = partial(facenet, MARGIN, mode)
    for key, values in CHANGES.items():
        for value in values:
            finders[f"{key} {value}"] = partial(ours, **{key: value})
    table = []

    def measure(name: str, find: Find) -> None:
        row: dict[str, Any] = {"variant": name}
        for kind, (images, truth) in sets.items():
            begun = time.perf_counter()
            row[kind] = errors(run(find, images), truth)
            row[kind]["images_per_second"] = len(images) / (time.perf_counter() - begun)
        table.append(row)
        print(f"{name:40}", *(f"{row[k]['found']:.3f} {row[k]['mean_error']:.4f}" for k in sets))

    for name, make in finders.items():
        measure(name, make())
    chosen = mtcnn.CLOSER
    for closer in (1.0, 0.8):
        mtcnn.CLOSER = closer
        measure(f"second look at {closer} of the box", ours())
    mtcnn.CLOSER = chosen
    return table


def on_real_faces(root: Path, count: int) -> dict[str, Any]:
    """Numbers without truth, on faces spread over each set."""
    result = {}
    for name, folder in REAL_SETS.items():
        if not (root / folder).is_dir():
            continue
        listed = list_images(root / folder)[0]
        chosen = listed[:: max(1, len(listed) // count)][:count]
        files = FileImages(root / folder, chosen)
        images = [decode_whole(files, index) for index in range(len(chosen))]
        width = images[0].width
        sizes = np.array([image.size for image in images])
        found, moved = {}, {}
        for key, find in (("facenet_pytorch", facenet()), ("face2exp", ours())):
            found[key] = run(find, images)
            mirrored = run(find, [ImageOps.mirror(image) for image in images])[:, MIRRORED]
            mirrored[..., 0] = width - mirrored[..., 0]
            moved[key] = float(np.nanmedian(distances(found[key], mirrored, found[key])))
        apart = distances(found["face2exp"], found["facenet_pytorch"], found["face2exp"])
        seen = {key: np.isfinite(points[:, 0, 0]) for key, points in found.items()}
        result[name] = {
            "images": len(images),
            "found": {key: float(value.mean()) for key, value in seen.items()},
            "implausible": {
                key: sum(map(bool, implausible(found[key][seen[key]], sizes[seen[key]])))
                for key in found
            },
            "median_distance_between_the_two": float(np.nanmedian(apart)),
            "median_distance_when_mirrored": moved,
        }
        print(name, result[name])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--data-root", type=Path, help="holds FER2013 and LFW")
    parser.add_argument("--faces", type=int, default=400, help="drawn with the reported seed")
    parser.add_argument("--tuning-faces", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cache", type=Path, default=Path("_build/landmarks"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    loose = draw(REPORTED_SEED, arguments.faces, arguments.cache)
    sets = {"loose": loose, "tight": tight(*loose)}
    speeds = {kind: speed(images, arguments.repeats) for kind, (images, _) in sets.items()}
    print(speeds)
    accuracy = {
        kind: {
            name: errors(run(find, images), truth)
            for name, find in (("facenet_pytorch", facenet()), ("face2exp", ours()))
        }
        for kind, (images, truth) in sets.items()
    }
    print(accuracy)
    tuning = draw(TUNING_SEED, arguments.tuning_faces, arguments.cache)
    table = variants({"loose": tuning, "tight": tight(*tuning)})
    real = on_real_faces(arguments.data_root, 150) if arguments.data_root else None
    if arguments.json is not None:
        used = {name: version(name) for name in ("facenet-pytorch", "torch", "torchvision")}
        write_json(
            arguments.json,
            {
                "speed": speeds,
                "accuracy": accuracy,
                "variants": table,
                "real_faces": real,
                "settings": {
                    "seeds": {"tuning": TUNING_SEED, "reported": REPORTED_SEED},
                    "faces": {"tuning": arguments.tuning_faces, "reported": arguments.faces},
                    "size": SIZE,
                    "batch": BATCH,
                    "threads": 1,
                    "unit_of_errors": "interocular distance in the image",
                    "searches": [asdict(search) for search in SEARCHES["crop"]],
                },
                "packages": used,
                "environment": environment(),
            },
        )


if __name__ == "__main__":
    main()
