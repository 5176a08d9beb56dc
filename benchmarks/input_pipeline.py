"""How fast faces become the input of a network, and how long a training step waits for them.

    python benchmarks/input_pipeline.py --json results/benchmarks/input_pipeline.json

Speed: decoding JPEGs of 256 px and Aug(.) to views of 224 px, in batches of 32 on one thread.
Every way does the same operations with the same chances: `fer` the conventional group, `fr` all
three. The ways take turns, and a ratio is the median over the rounds of the way's rate to that of
the plain pipeline (Pillow and torchvision's first transforms) in the same round. torchvision's own
decoder is left out: it is deprecated since 0.29.

Waiting: what part of a training step goes by until its images are there, that is in the loader's
`next` while its worker processes decode, and in making views, which on a CPU the training process
does itself. The step is that of Algorithm 1 on one thread; the first five are not counted.
"""

import argparse
import io
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter
from simplejpeg import decode_jpeg
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import functional as v1f
from torchvision.transforms import v2
from tqdm import tqdm

from face2exp_lib.augmentation.apply import MEAN, STD, _apply_torch, apply_view
from face2exp_lib.augmentation.draw import View, draw_conventional
from face2exp_lib.augmentation.patches import EYE, FOREHEAD, NOSE_OR_MOUTH, AugOptions, draw_aug
from face2exp_lib.config import RUN_CONFIG, RunConfig
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FileImages
from face2exp_lib.networks import build_network
from face2exp_lib.rendering import FaceSpec, render_face
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.seeding import torch_generator
from face2exp_lib.runtime.storage import write_json
from face2exp_lib.training import phases

NUM_FACES, BATCH = 192, 32
STORED, SEEN = 256, 224  # px
QUALITIES = range(90, 96)  # of the JPEGs
ANGLES = {"fer": 10.0, "fr": 30.0}  # degrees
WARM_UP_STEPS = 5

Way = Callable[[list[int]], Tensor]


def rendered_faces(folder: Path) -> FaceSet:
    """Faces of the renderer as JPEG files, with their true landmarks."""
    spec = FaceSpec(purpose="input_pipeline", count=NUM_FACES, size=STORED)
    names, landmarks = [], []
    for index in tqdm(range(NUM_FACES), desc="render", leave=False):
        pixels, record = render_face(spec, index)
        names.append(f"{index}.jpg")
        landmarks.append(record.landmarks)
        quality = QUALITIES[index % len(QUALITIES)]
        Image.fromarray(pixels).save(folder / names[-1], quality=quality)
    labels = np.arange(NUM_FACES) % 7
    points = np.array(landmarks, np.float32)
    return FaceSet(
        "faces", FileImages(folder, names), np.arange(NUM_FACES), labels, landmarks=points
    )


# The plain pipeline, image by image. It draws with Python's generator, the quickest for numbers.


def by_chance(probability: float) -> bool:
    return random.random() < probability


def drawn_map(kind: str) -> tuple[float, int, int, bool]:
    """Angle in degrees, left and top of the crop in px, whether to mirror."""
    free = STORED - SEEN
    angle = random.uniform(-ANGLES[kind], ANGLES[kind])
    return angle, random.randint(0, free), random.randint(0, free), by_chance(0.5)


def processed(image: Any, functional: Any) -> Any:
    """The pixel-wise part of the extensive group."""
    if by_chance(0.2):
        if isinstance(image, Image.Image):
            image = image.filter(ImageFilter.BoxBlur(1))
        else:
            image = functional.gaussian_blur(image, 3)
    image = functional.adjust_brightness(image, random.uniform(0.6, 1.4))
    image = functional.adjust_contrast(image, random.uniform(0.6, 1.4))
    image = functional.adjust_saturation(image, random.uniform(0.4, 1.6))
    if by_chance(0.2):
        image = functional.rgb_to_grayscale(image, 3)
    if by_chance(0.1):
        image = functional.posterize(image, 4)
    if by_chance(0.1):
        image = functional.solarize(image, 128)
    return image


def erased(pixels: Tensor) -> Tensor:
    """Random erasing, in place."""
    if by_chance(0.5):
        width, height = (int(random.uniform(0.15, 0.45) * SEEN) for _ in range(2))
        left, top = random.randint(0, SEEN - width), random.randint(0, SEEN - height)
        pixels[:, top : top + height, left : left + width] = 0
    return pixels


def with_patches(pixels: Tensor, points: np.ndarray, drawn: tuple[float, int, int, bool]) -> Tensor:
    """All but the patches at the landmarks, px of the stored image, set to 0."""
    angle, left, top, mirrored = drawn
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    shown = torch.zeros_like(pixels)
    shown[:, : FOREHEAD[1]] = pixels[:, : FOREHEAD[1]]
    sizes = (EYE, EYE, NOSE_OR_MOUTH, NOSE_OR_MOUTH, NOSE_OR_MOUTH)
    for (x, y), (width, height) in zip(points.tolist(), sizes, strict=True):
        x, y = x - STORED / 2, y - STORED / 2
        x, y = cos * x + sin * y + STORED / 2 - left, cos * y - sin * x + STORED / 2 - top
        x = SEEN - x if mirrored else x
        columns = slice(max(round(x - width / 2), 0), max(round(x + width / 2), 0))
        rows = slice(max(round(y - height / 2), 0), max(round(y + height / 2), 0))
        shown[:, rows, columns] = pixels[:, rows, columns]
    return shown


def plain(faces: FaceSet, kind: str, *, one_map: bool) -> Way:
    """Pillow and torchvision's first transforms; `one_map`: crop, rotation and flip in one."""
    images, landmarks = faces.images, faces.landmarks
    normalise = v1.Normalize(MEAN, STD)
    assert isinstance(images, FileImages)
    assert landmarks is not None

    def one(index: int) -> Tensor:
        image = Image.open(images.root / images.ids[index]).convert("RGB")
        drawn = angle, left, top, mirrored = drawn_map(kind)
        if one_map:
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            side = -1 if mirrored else 1
            x, y = left + SEEN / 2 - STORED / 2, top + SEEN / 2 - STORED / 2
            turned = (side * cos, -sin, side * sin, cos)
            place = cos * x - sin * y + STORED / 2, sin * x + cos * y + STORED / 2
            start = [place[i] - (turned[2 * i] + turned[2 * i + 1]) * SEEN / 2 for i in range(2)]
            coefficients = (*turned[:2], start[0], *turned[2:], start[1])
            image = image.transform(
                (SEEN, SEEN), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
            )
        else:
            image = v1f.rotate(image, angle, v1f.InterpolationMode.BILINEAR)
            image = v1f.crop(image, top, left, SEEN, SEEN)
            if mirrored:
                image = v1f.hflip(image)
        if kind == "fr":
            image = processed(image, v1f)
        pixels = normalise(v1f.to_tensor(image))
        if kind == "fr":
            pixels = with_patches(erased(pixels), landmarks[index], drawn)
        return pixels

    return lambda indices: torch.stack([one(index) for index in indices])


def second_transforms(faces: FaceSet, kind: str) -> Way:
    """torchvision's second transforms on tensors, image by image."""
    images, landmarks = faces.images, faces.landmarks
    normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    functional = v2.functional
    assert isinstance(images, FileImages)
    assert landmarks is not None

    def one(index: int) -> Tensor:
        image = functional.pil_to_tensor(Image.open(images.root / images.ids[index]).convert("RGB"))
        drawn = angle, left, top, mirrored = drawn_map(kind)
        image = functional.rotate(image, angle, v1f.InterpolationMode.BILINEAR)
        image = functional.crop(image, top, left, SEEN, SEEN)
        if mirrored:
            image = functional.horizontal_flip(image)
        if kind == "fr":
            image = processed(image, functional)
        pixels = normalise(image)
        if kind == "fr":
            pixels = with_patches(erased(pixels), landmarks[index], drawn)
        return pixels

    return lambda indices: torch.stack([one(index) for index in indices])


def second_transforms_batched(faces: FaceSet, kind: str) -> Way:
    """The same with one draw for a whole batch, all that they offer: less than is asked for."""
    decoded = DecodedFaces(faces, STORED, in_memory=False)
    normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    functional = v2.functional

    def batch(indices: list[int]) -> Tensor:
        images = decoded.__getitems__(indices).images
        angle, left, top, mirrored = drawn_map(kind)
        images = functional.rotate(images, angle, v1f.InterpolationMode.BILINEAR)
        images = functional.crop(images, top, left, SEEN, SEEN)
        if mirrored:
            images = functional.horizontal_flip(images)
        if kind == "fr":
            images = processed(images, functional)
        return normalise(images)

    return batch


# The product's way, whole and with other parts put in.


def drawn_view(landmarks: Tensor, kind: str) -> View:
    generator = torch_generator(random.randrange(2**31), "benchmark")
    if kind == "fer":
        return draw_conventional(len(landmarks), generator, crop_fraction=SEEN / STORED)
    return draw_aug(
        landmarks, generator, AugOptions(), crop_fraction=SEEN / STORED, stored_size=STORED
    )


def ours(faces: FaceSet, kind: str, apply: Callable[[Tensor, View, int], Tensor]) -> Way:
    """The product's reading with its own or another way to apply views."""
    decoded = DecodedFaces(faces, STORED, in_memory=False)

    def batch(indices: list[int]) -> Tensor:
        images, _, landmarks = decoded.__getitems__(indices)
        return apply(images, drawn_view(landmarks, kind), SEEN)

    return batch


def ours_decoded_by(faces: FaceSet, kind: str, decode: Callable[[bytes], np.ndarray]) -> Way:
    """The product's views of what another decoder reads."""
    assert faces.landmarks is not None
    landmarks = torch.from_numpy(faces.landmarks)

    def batch(indices: list[int]) -> Tensor:
        images = torch.empty(len(indices), STORED, STORED, 3, dtype=torch.uint8)
        for row, index in enumerate(indices):
            images[row] = torch.from_numpy(decode(faces.images.read(index)))
        view = drawn_view(landmarks[indices], kind)
        return apply_view(images.permute(0, 3, 1, 2), view, SEEN)

    return batch


def by_opencv(content: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB))


def by_pillow(content: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def ways(faces: FaceSet, kind: str) -> dict[str, Way]:
    decoders = {"Pillow": by_pillow, "OpenCV": by_opencv, "simplejpeg": decode_jpeg}
    return {
        "Pillow + torchvision v1": plain(faces, kind, one_map=False),
        "Pillow + torchvision v1, one affine map": plain(faces, kind, one_map=True),
        "Pillow + torchvision v2, per image": second_transforms(faces, kind),
        "torchvision v2, one draw a batch, no patches": second_transforms_batched(faces, kind),
        "face2exp": ours(faces, kind, apply_view),
        "face2exp, views by torch as on a GPU": ours(faces, kind, _apply_torch),
        **{
            f"face2exp's views, decoded by {name}": ours_decoded_by(faces, kind, decoder)
            for name, decoder in decoders.items()
        },
    }


def measure_speed(faces: FaceSet, rounds: int) -> dict[str, Any]:
    """Images a second of each way and its ratio to the first."""
    result: dict[str, Any] = {}
    batches = [list(range(i, i + BATCH)) for i in range(0, NUM_FACES, BATCH)]
    for kind in ANGLES:
        of_kind = ways(faces, kind)
        rates: dict[str, list[float]] = {name: [] for name in of_kind}
        for number in tqdm(range(rounds + 1), desc=kind, leave=False):
            random.seed(number)
            spent = dict.fromkeys(of_kind, 0.0)
            for indices in batches:  # in turns within a round: other work comes and goes
                for name, way in of_kind.items():
                    started = time.perf_counter()
                    way(indices)
                    spent[name] += time.perf_counter() - started
            if number > 0:  # the first round warms up
                for name, seconds in spent.items():
                    rates[name].append(NUM_FACES / seconds)
        base = next(iter(rates.values()))
        result[kind] = {
            name: {
                "images_per_second": round(median(of_way), 1),
                "slowest_and_fastest": [round(min(of_way), 1), round(max(of_way), 1)],
                "ratio": round(median(a / b for a, b in zip(of_way, base, strict=True)), 2),
            }
            for name, of_way in rates.items()
        }
    return result


# A training step


def waiting_config(backbone: str, stored: int, seen: int, batch: int, workers: int) -> RunConfig:
    rendered = {"format": "rendered"}
    return RUN_CONFIG.validate_python(
        {
            "name": "waiting",
            "data": {
                "labelled": rendered, "test": rendered, "unlabelled": rendered,
                "validation_per_class": 1, "stored_size": stored, "view_size": seen,
                "num_workers": workers,
            },
            "network": {"backbone": backbone},
            "training": {"num_steps": 100, "batch_size_fer": batch, "batch_size_fr": batch},
        }
    )  # fmt: skip


def measure_waiting(config: RunConfig, faces: FaceSet, num_steps: int) -> dict[str, Any]:
    """Seconds of a step, and what of it goes by in the loader and in making views."""
    spent = {"loader": 0.0, "views": 0.0}
    read, apply = phases.step_batches, phases.apply_view

    def timed_read(*arguments: Any, **options: Any) -> Iterator[Any]:
        batches = read(*arguments, **options)
        while True:
            started = time.perf_counter()
            batch = next(batches)
            spent["loader"] += time.perf_counter() - started
            yield batch

    def timed_apply(*arguments: Any) -> Tensor:
        started = time.perf_counter()
        view = apply(*arguments)
        spent["views"] += time.perf_counter() - started
        return view

    with (
        patch.object(phases, "step_batches", timed_read),
        patch.object(phases, "apply_view", timed_apply),
    ):
        networks = {
            name: build_network(config.network.backbone, 7, pretrained=False, seed=seed)
            for seed, name in enumerate(("base", "adaptation"))
        }
        decoded = DecodedFaces(faces, config.data.stored_size, in_memory=False)
        rates = {name: phases.Rate(1e-3) for name in networks}
        phase = phases.Phase(
            "waiting", WARM_UP_STEPS + num_steps, config, networks, rates, decoded, decoded
        )
        steps = phase.steps(0)
        for _ in range(WARM_UP_STEPS):
            next(steps)
        spent.update(loader=0.0, views=0.0)
        started = time.perf_counter()
        for _ in range(num_steps):
            next(steps)
        whole = time.perf_counter() - started
    return {
        "backbone": config.network.backbone,
        "view_size": config.data.view_size,
        "batch_size": config.training.batch_size_fr,
        "num_workers": config.data.num_workers,
        "steps": num_steps,
        "seconds_per_step": round(whole / num_steps, 4),
        "percent_waiting_for_the_loader": round(100 * spent["loader"] / whole, 2),
        "percent_making_views": round(100 * spent["views"] / whole, 2),
    }


WAITING = (  # backbone, stored and seen px, batch, workers, steps
    ("resnet18", 256, 224, 8, 1, 10),
    ("small", 64, 48, 32, 1, 50),
    ("small", 64, 48, 32, 2, 50),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="file to write the result to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        faces = rendered_faces(Path(folder))
        speed = measure_speed(faces, options.rounds)
        for kind, table in speed.items():
            print(f"| {kind} | images/s | ratio |\n|---|---|---|")
            for name, row in table.items():
                print(f"| {name} | {row['images_per_second']} | {row['ratio']} |")
        waiting = []
        for backbone, stored, seen, batch, workers, steps in WAITING:
            config = waiting_config(backbone, stored, seen, batch, workers)
            waiting.append(measure_waiting(config, faces, steps))
            print(waiting[-1], flush=True)
    if options.json:
        settings = {
            "faces": NUM_FACES, "batch": BATCH, "stored": STORED, "seen": SEEN,
            "jpeg_qualities": list(QUALITIES), "rounds": options.rounds,
            "seeds": list(range(options.rounds + 1)),
        }  # fmt: skip
        libraries = {name: version(name) for name in ("opencv-python-headless", "simplejpeg")}
        write_json(
            options.json,
            {
                "speed": speed,
                "waiting": waiting,
                "settings": settings,
                "libraries": libraries,
                "environment": environment(),
            },
        )


if __name__ == "__main__":
    main()
