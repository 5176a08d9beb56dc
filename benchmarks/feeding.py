"""How many cores feed a GPU: the images of a step at 224 px, from JPEGs, on one core.

    python -m benchmarks.feeding --json results/benchmarks/feeding.json

Measured: what a step of 32 + 32 images asks of a CPU that decodes alone, while the GPU makes the
views, and of one that makes them, too: conventional ones of both kinds and Aug(x_FR), normalised.
Core time is counted, not time that passed, so that other work on the machine changes it little; the
load is stored beside it.

Estimated, since no GPU was at hand: how many images a second a GPU takes. A step costs so many
forward passes; training on an image costs three. NVIDIA publishes what an A100 trains of ResNet-50
in mixed precision in PyTorch, and what A100 and H100 can compute at most; the H100 is taken to
reach the same share of its maximum. `benchmarks/gpu` measures it.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch
from tqdm import tqdm

from benchmarks.input_pipeline import NUM_FACES, QUALITIES, SEEN, STORED, rendered_faces
from face2exp_lib.augmentation.apply import apply_view
from face2exp_lib.augmentation.draw import draw_conventional
from face2exp_lib.augmentation.patches import AugOptions, draw_aug
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.meta_face2exp import MetaOptions
from face2exp_lib.networks import forward_operations
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.seeding import torch_generator
from face2exp_lib.runtime.storage import write_json

FER, FR = 32, 32  # images of a step
TRAINING_PASSES = 3  # forward passes that training on an image costs: a backward one counts as two
PUBLISHED = {  # of NVIDIA
    "a100_training_images_per_second": 9488.39 / 8,
    "a100_source": "NVIDIA DeepLearningExamples, PyTorch/Classification/ConvNets, README: "
    "ResNet-50 v1.5, mixed precision, 8 x A100 40 GB, 9,488.39 images/s, an eighth of it",
    "a100_most_operations_per_second": 312e12,
    "h100_most_operations_per_second": 989.4e12,
    "operations_source": "NVIDIA's data sheets: bfloat16 tensor cores without sparsity, A100 312 "
    "and H100 SXM 989.4 TFLOP/s",
}
BUSY_LOAD = 1.0  # processes that compute, this one not among them


def decoding(faces: DecodedFaces, step: int) -> None:
    """The images of a step, where the GPU makes the views."""
    for kind, number in (("fer", FER), ("fr", FR)):
        faces.__getitems__(rows(kind, number, step))


def decoding_and_views(faces: DecodedFaces, step: int) -> None:
    """x_FER, x_FR and Aug(x_FR), as a network takes them."""
    fer, fr = (
        faces.__getitems__(rows(kind, number, step)) for kind, number in (("fer", FER), ("fr", FR))
    )
    generator, fraction = torch_generator(0, "views", step), SEEN / STORED
    for batch in (fer, fr):
        view = draw_conventional(len(batch.images), generator, crop_fraction=fraction)
        apply_view(batch.images, view, SEEN)
    aug = draw_aug(
        fr.landmarks, generator, AugOptions(), crop_fraction=fraction, stored_size=STORED
    )
    apply_view(fr.images, aug, SEEN)


WAYS: dict[str, Callable[[DecodedFaces, int], None]] = {
    "decoding": decoding,
    "decoding_and_views": decoding_and_views,
}


def rows(kind: str, number: int, step: int) -> list[int]:
    """Faces that a step draws."""
    generator = torch_generator(0, kind, step)
    return torch.randint(NUM_FACES, (number,), generator=generator).tolist()


def measure(faces: DecodedFaces, steps: int) -> dict[str, Any]:
    """Images read a second of core time, 64 a step, by each way; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for step in tqdm(range(steps + 1), desc="steps", leave=False):
        for name, way in WAYS.items():
            started = time.process_time()
            way(faces, step)
            if step > 0:  # the first one warms up
                seconds[name].append(time.process_time() - started)
    return {
        name: {
            "images_per_second_per_core": round((FER + FR) / median(found), 1),
            "slowest_and_fastest": [
                round((FER + FR) / max(found), 1),
                round((FER + FR) / min(found), 1),
            ],
        }
        for name, found in seconds.items()
    }


def estimate(forward_passes: float) -> dict[str, Any]:
    """Images a second that a step of so many forward passes takes from the data, on each GPU."""
    a100 = float(PUBLISHED["a100_training_images_per_second"])
    operations = TRAINING_PASSES * forward_operations("resnet50", 1000, 224)
    share = a100 * operations / float(PUBLISHED["a100_most_operations_per_second"])
    h100 = share * float(PUBLISHED["h100_most_operations_per_second"]) / operations
    found: dict[str, Any] = {"what": "an estimate: nothing of it was measured here", **PUBLISHED}
    found |= {
        "training_operations_per_image": operations,
        "share_of_most": round(share, 3),
        "forward_passes_per_step": forward_passes,
    }
    for name, rate in (("A100", a100), ("H100", h100)):
        steps = rate * TRAINING_PASSES / forward_passes
        found[name] = {
            "training_images_per_second": round(rate),
            "steps_per_second": round(steps, 2),
            "images_read_per_second": round(steps * (FER + FR)),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--json", type=Path, help="file to write the result to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        faces = rendered_faces(Path(folder))
        sizes = [len(faces.images.read(row)) for row in range(NUM_FACES)]
        found = measure(DecodedFaces(faces, STORED, in_memory=False), arguments.steps)
    cost = METHODS["meta"].cost(MetaOptions(), FER, FR).cost
    result = {
        "core": found,
        "gpu": estimate(cost),
        "settings": {
            "batch": [FER, FR],
            "stored_px": STORED,
            "seen_px": SEEN,
            "jpeg_qualities": list(QUALITIES),
            "jpeg_bytes": round(sum(sizes) / NUM_FACES),
            "steps": arguments.steps,
            "clock": "core time",
            "load_before": round(load, 2),
            "machine_was_busy": load > BUSY_LOAD,
        },
        "libraries": {name: version(name) for name in ("opencv-python-headless", "simplejpeg")},
        "environment": environment(),
    }
    for name, rates in found.items():
        print(f"{name}: {rates['images_per_second_per_core']} images/s a core")
    for name in ("A100", "H100"):
        print(f"{name}: an estimate, {result['gpu'][name]['images_read_per_second']} images/s")
    if arguments.json:
        write_json(arguments.json, result)


if __name__ == "__main__":
    main()
