"""Which part of a face spoke for a class: Grad-CAM (Selvaraju et al., ICCV 2017), by Captum.

A map is as coarse as the last block's grid, 7 x 7 for a ResNet at 224 px, and shows what raised
one class for one network. It does not show why a person looks as they do.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from face2exp_lib.augmentation.apply import apply_view
from face2exp_lib.augmentation.draw import centre_view
from face2exp_lib.config import RunConfig
from face2exp_lib.data.sets.images import decode
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.preparation.face_crops import Detector, crop_to_every_face, crop_to_faces
from face2exp_lib.runs.predict import files_of
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import write_bytes

STRENGTH = 0.55  # of the colours over the face, at most
SHOWN_SIDE = 448  # px of each of the two pictures in an overlay
LONGEST_STEM = 60  # characters of an image's name that its overlay takes over


class Explained(NamedTuple):
    """One explained image or face.

    Attributes:
        image: the file.
        face: number of the face in its photo, from 1 at the left; 0 where one is all there is.
        picture: the file that was written.
        label, probability: of the class that is explained.
    """

    image: str
    face: int
    picture: Path
    label: str
    probability: float


def explain_images(
    run_dir: Path | str,
    paths: Sequence[Path | str],
    out: Path | str,
    label: str | None = None,
    *,
    detector: Detector | None = None,
    every_face: bool = False,
    left_out: list[str] | None = None,
) -> list[Explained]:
    """Write for each image the network's view of it beside the same view under its Grad-CAM map.

    Args:
        out: a folder for the PNG files, named by number, image, face and class.
        label: class that is explained; None takes each image's most probable one.
        detector: crops each image to its face; None takes them as cropped already.
        every_face: explain all faces that the detector finds in an image, from left to right.
        left_out: if given, images that cannot be read or show no face are left out, and what is
            wrong with each is added here.

    Raises:
        Face2ExpError: if Captum is missing, the run has no such class, an image cannot be read or
            shows no face, or the folder cannot be written.
    """
    run_dir = Path(run_dir)
    out = Path(out)
    _must_have_captum()
    config, network, _ = load_trained(run_dir)
    names = class_names(config.data.num_classes)
    if label is not None and label not in names:
        raise Face2ExpError(f"no class '{label}' in this run: take {', '.join(names)}")
    images, faces = files_of(paths), None
    if detector is not None and every_face:
        images, faces = crop_to_every_face(images, detector, left_out)
    elif detector is not None:
        images = crop_to_faces(images, detector, left_out)
    device = next(network.parameters()).device
    written = []
    for number, image in enumerate(tqdm(images.ids, desc="explain", leave=False, delay=2)):
        try:
            pixels = decode(images, number, config.data.stored_size)[None].to(device)
        except Face2ExpError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
            continue
        code = None if label is None else names.index(label)
        code, probability, heat = explain(config, network, pixels, code)
        margin = (config.data.stored_size - config.data.view_size) // 2
        end = margin + config.data.view_size
        view = pixels[0, :, margin:end, margin:end].permute(1, 2, 0).cpu().numpy()
        face = faces[number].number if faces else 0
        name = _plain(Path(image).stem) + (f"-face{face}" if face else "")
        target = out / f"{number:04}-{name}-{names[code]}.png"
        write_bytes(target, _png(side_by_side(view, heat)))
        written.append(Explained(image, face, target, names[code], probability))
    return written


def explain(
    config: RunConfig, network: FaceNetwork, pixels: Tensor, code: int | None = None
) -> tuple[int, float, np.ndarray]:
    """Grad-CAM of one image.

    Args:
        config, network: as `load_trained` gives them.
        pixels: (1, 3, S, S) uint8 on the network's device, S = `stored_size`.
        code: class that is explained; None takes the most probable.

    Returns:
        The class, its probability, and the map: (s, s) float32 in 0..1, 1 at its highest point; all
        0 where nothing spoke for the class.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    network.eval()
    view = apply_view(pixels, centre_view(1).to(pixels.device), config.data.view_size)
    with torch.no_grad():
        probabilities = network(view).softmax(1)[0]
    chosen = int(probabilities.argmax()) if code is None else code
    coarse = LayerGradCam(network, network.last_maps).attribute(
        view, target=chosen, relu_attributions=True
    )
    heat = LayerAttribution.interpolate(coarse, view.shape[-2:], "bilinear")[0, 0].detach().cpu()
    highest = float(heat.max())
    heat = heat / highest if highest > 0 else heat
    return chosen, float(probabilities[chosen]), heat.numpy()


def side_by_side(view: np.ndarray, heat: np.ndarray) -> Image.Image:
    """A view, and the same view under its map: the brighter the yellow, the more it spoke.

    Args:
        view: (s, s, 3) uint8.
        heat: (s, s) in 0..1.
    """
    share = STRENGTH * heat[..., None]
    covered = (1 - share) * view + share * _colours(heat)
    pair = Image.new("RGB", (2 * SHOWN_SIDE, SHOWN_SIDE))
    for left, pixels in ((0, view), (SHOWN_SIDE, covered.round().astype(np.uint8))):
        shown = Image.fromarray(pixels).resize((SHOWN_SIDE,) * 2, Image.Resampling.BILINEAR)
        pair.paste(shown, (left, 0))
    return pair


def _colours(heat: np.ndarray) -> np.ndarray:
    """Black through red to yellow, whose lightness rises all along: (..., 3) in 0..255."""
    return 255 * np.stack([np.clip(2 * heat, 0, 1), np.clip(2 * heat - 1, 0, 1), 0 * heat], -1)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _plain(stem: str) -> str:
    """A file's name that is text in every file system."""
    return re.sub(r"[^\w.-]+", "_", stem, flags=re.ASCII)[:LONGEST_STEM]


def _must_have_captum() -> None:
    try:
        import captum.attr  # noqa: F401
    except ImportError as error:
        raise Face2ExpError(
            f"explaining needs {error.name}: pip install 'face2exp-lib[explain]'"
        ) from error
