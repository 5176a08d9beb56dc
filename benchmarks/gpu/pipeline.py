"""Part 3: does the GPU wait for its images? JPEGs of 256 px, decoded, views of 224 px, 32 + 32.

Two ways to feed a step: worker processes decode on the CPU and the GPU makes the views, as training
does; or nvJPEG, through torchvision, decodes on the GPU as well. The GPU is busy with learning for
the share (time of a step whose images lie there) / (time of a step that is fed). What decodes or
augments on the GPU takes its time from the steps, and is not counted as busy.
"""

import itertools
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.optim import SGD

from benchmarks.gpu.piece import OutOfTime, Piece, Settings
from benchmarks.gpu.steps import set_tf32
from face2exp_lib.augmentation.apply import apply_view
from face2exp_lib.augmentation.draw import View, draw_conventional
from face2exp_lib.augmentation.patches import AugOptions, draw_aug
from face2exp_lib.data.batches import DecodedFaces, step_batches
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FileImages, decode
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.data.sources import Source
from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import Compute
from face2exp_lib.networks import build_network
from face2exp_lib.runtime.seeding import torch_generator
from face2exp_lib.runtime.workers import usable_cpus

STORED, SEEN = 256, 224  # px
IMAGES, TINY_IMAGES = 1024, 24
BATCH, TINY_BATCH = 32, 4
QUALITY = 90  # of the JPEGs
GRAIN = 4.0  # levels of 255: an enlarged face has no detail, and a sensor's noise is some
STEPS, TINY_STEPS = 40, 2  # measured
WARM_UP, TINY_WARM_UP = 10, 1
ENOUGH = 0.9  # of the time
Feed = Iterator[tuple[Tensor, Tensor]]  # images (N, 3, S, S) uint8 on the device, labels (N,)


def pieces(settings: Settings) -> list[Piece]:
    """Decoding by more and more workers, then by the GPU."""
    cores = usable_cpus()
    workers = [1] if settings.tiny else sorted({1, 4, 8, cores} & set(range(1, cores + 1)))
    least = 1 if settings.tiny else 120
    found = [
        Piece("pipeline", f"workers_{number}", least, partial(fed_by_workers, number))
        for number in reversed(workers)  # what most can do first
    ]
    return [*found, Piece("pipeline", "gpu_decoding", least, fed_by_gpu)]


def write_faces(folder: Path, number: int) -> FaceSet:
    """Rendered faces of the checkout as JPEG files of `STORED` px, with grain."""
    rendered = Source("rendered", part="fer_train").read(None)
    generator = np.random.default_rng(0)
    names, labels = [], []
    for index in range(number):
        row = index % len(rendered)
        pixels = decode(rendered.images, int(rendered.rows[row]), STORED).permute(1, 2, 0).numpy()
        grain = generator.normal(0, GRAIN, pixels.shape)
        noisy = np.clip(pixels + grain, 0, 255).astype(np.uint8)
        names.append(f"{index}.jpg")
        Image.fromarray(noisy).save(folder / names[-1], quality=QUALITY)
        labels.append(0 if rendered.labels is None else int(rendered.labels[row]))
    return FaceSet("faces", FileImages(folder, names), np.arange(number), np.array(labels))


class Trainer:
    """Steps of Meta-Face2Exp in bfloat16, channels last: the fastest plain way there is."""

    def __init__(self, settings: Settings) -> None:
        self.device, self.settings = torch.device(settings.device), settings
        set_tf32(True)
        backbone, self.seen = ("small", 32) if settings.tiny else ("resnet50", SEEN)
        self.stored = self.seen * STORED // SEEN
        self.networks = [
            build_network(backbone, 7, pretrained=False, seed=seed).to(self.device).train()
            for seed in (0, 1)
        ]
        self.optimisers = [SGD(net.parameters(), lr=1e-3, momentum=0.9) for net in self.networks]
        self.history, self.number = FeedbackHistory(), 0

    def views(self, fer: Tensor, fr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x_FER, x_FR and Aug(x_FR), made where the images lie."""
        fraction = self.seen / self.stored
        self.number += 1
        generator = torch_generator(0, "pipeline", self.number)
        points = torch.tensor(CANONICAL_POINTS)[None].expand(len(fr), -1, -1) * self.stored
        plain = [draw_conventional(len(x), generator, crop_fraction=fraction) for x in (fer, fr)]
        aug = draw_aug(
            points, generator, AugOptions(), crop_fraction=fraction, stored_size=self.stored
        )
        return (
            self._apply(fer, plain[0]),
            self._apply(fr, plain[1]),
            self._apply(fr, aug),
        )

    def _apply(self, images: Tensor, view: View) -> Tensor:
        return apply_view(images, view.to(self.device), self.seen)

    def step(self, x_fer: Tensor, y_fer: Tensor, x_fr: Tensor, x_fr_aug: Tensor) -> None:
        """One step; returns before a GPU has taken it."""
        base, adaptation = self.networks
        sgd_b, sgd_a = self.optimisers
        batch = StepBatch(x_fer, y_fer, x_fr, x_fr_aug)
        compute = Compute(precision="bfloat16")
        meta_step(base, adaptation, sgd_b, sgd_a, batch, MetaOptions(), self.history, compute)

    def seconds(self, one: Callable[[], object]) -> list[float]:
        """Of each of some calls in a row, once warm; the GPU is asked only at the end of each."""
        tiny = self.settings.tiny
        found = []
        for number in range((TINY_WARM_UP + TINY_STEPS) if tiny else WARM_UP + STEPS):
            if self.settings.left() <= 0:
                raise OutOfTime("no time for all steps")
            begun = time.perf_counter()
            one()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            if number >= (TINY_WARM_UP if tiny else WARM_UP):
                found.append(time.perf_counter() - begun)
        return found


def fed_by_workers(workers: int, settings: Settings) -> dict[str, Any]:
    """Processes decode; the training process copies and makes views on the device."""

    def feeds(faces: FaceSet, trainer: Trainer, batch: int) -> tuple[Feed, Feed]:
        decoded = DecodedFaces(faces, trainer.stored, in_memory=False)

        def feed(stream: str) -> Feed:
            # Each kind of face has a loader of its own, and the two share the workers.
            number = max(1, workers // 2)
            batches = step_batches(
                decoded, batch, start=0, stop=10**6, seed=0, stream=stream, workers=number
            )
            for loaded in batches:
                images = loaded.images.to(trainer.device, non_blocking=True)
                yield images, loaded.labels.to(trainer.device, non_blocking=True)

        return feed("fer"), feed("fr")

    return measured(feeds, settings) | {"workers": workers}


def fed_by_gpu(settings: Settings) -> dict[str, Any]:
    """The device decodes the files' bytes, which lie in memory: of this size, a page cache's."""
    from torchvision import io as image_io

    if not hasattr(image_io, "decode_jpeg"):
        return {"skipped": "this torchvision decodes no JPEGs: TorchCodec has taken that over"}

    def feeds(faces: FaceSet, trainer: Trainer, batch: int) -> tuple[Feed, Feed]:
        files = [
            torch.frombuffer(bytearray(faces.images.read(row)), dtype=torch.uint8)
            for row in range(len(faces))
        ]
        assert faces.labels is not None
        labels = torch.from_numpy(faces.labels)

        def feed(seed: int) -> Feed:
            for step in itertools.count():
                generator = torch_generator(seed, "pipeline", step)
                rows = torch.randint(len(files), (batch,), generator=generator).tolist()
                chosen = [files[row] for row in rows]
                with warnings.catch_warnings():  # TorchCodec is to take it over
                    warnings.simplefilter("ignore", DeprecationWarning)
                    images = image_io.decode_jpeg(chosen, device=settings.device)
                stacked = torch.stack(images)
                if stacked.shape[-1] != trainer.stored:
                    size = [trainer.stored] * 2
                    stacked = torch.nn.functional.interpolate(stacked.float(), size).byte()
                yield stacked, labels[rows].to(trainer.device)

        return feed(1), feed(2)

    return measured(feeds, settings)


def measured(
    feeds: Callable[[FaceSet, Trainer, int], tuple[Feed, Feed]], settings: Settings
) -> dict[str, Any]:
    """Images a second that a way reads, and how busy it keeps the device."""
    batch = TINY_BATCH if settings.tiny else BATCH
    with tempfile.TemporaryDirectory() as folder:
        faces = write_faces(Path(folder), TINY_IMAGES if settings.tiny else IMAGES)
        sizes = [len(faces.images.read(row)) for row in range(min(len(faces), 100))]
        trainer = Trainer(settings)
        fers, frs = feeds(faces, trainer, batch)
        (fer, labels), (fr, _) = next(fers), next(frs)
        lying = (*trainer.views(fer, fr), labels)

        def of_memory() -> None:
            x_fer, x_fr, x_fr_aug, y_fer = lying
            trainer.step(x_fer, y_fer, x_fr, x_fr_aug)

        def read() -> tuple[Tensor, ...]:
            (fer, labels), (fr, _) = next(fers), next(frs)
            x_fer, x_fr, x_fr_aug = trainer.views(fer, fr)
            return x_fer, labels, x_fr, x_fr_aug

        alone = statistics.median(trainer.seconds(of_memory))
        fed = statistics.fmean(trainer.seconds(lambda: trainer.step(*read())))
        reading = statistics.fmean(trainer.seconds(read))
    busy = min(1.0, alone / fed)
    return {
        "batch": [batch, batch],
        "stored_px": trainer.stored,
        "seen_px": trainer.seen,
        "jpeg_bytes": round(statistics.fmean(sizes)),
        "step_milliseconds": round(1000 * alone, 2),
        "fed_step_milliseconds": round(1000 * fed, 2),
        "reading_images_per_second": round(2 * batch / reading, 1),
        "step_images_per_second": round(2 * batch / alone, 1),
        "busy_share": round(busy, 3),
        "busy_enough": busy > ENOUGH,
        "cores": usable_cpus(),
    }
