"""MTCNN (Zhang et al. 2016), arranged for many images of one face each, or of any.

The three networks and their weights are those of facenet-pytorch; what goes on between them is
done here, for a whole batch at once. What makes it fast, and why the points stay good:

* Every image is scaled into one square canvas with a grey margin, so that images of any sizes form
  one batch, and the box of a tight crop may leave the image without being bent by its edge.
* A crop holds one large face, so the first network looks at a few coarse scales only, and the next
  ones at the few best boxes. Images in which nothing is found are looked at again, thoroughly.
* The last network looks twice, the second time at the box of the first look, drawn a little closer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import batched_nms, roi_align

from face2exp_lib.runtime.errors import Face2ExpError

MISSING = "finding landmarks needs facenet-pytorch: pip install 'face2exp-lib[landmarks]'"
CELL, STRIDE = 12, 2  # px that PNet looks at, and between two looks
RNET_SIDE, ONET_SIDE = 24, 48  # px
SCALE_STEP = 0.709  # between scales: half the area, as in the paper
# What passes each network, as in the paper's code; they are asked for log odds.
LOG_ODDS = tuple(math.log(p / (1 - p)) for p in (0.6, 0.7, 0.7))
# Inputs that a network sees at once, always as many: with another number the sums come out in
# another order, and a face would depend, in the last bits, on the images beside it.
PNET_BLOCK, RNET_BLOCK, ONET_BLOCK = 8, 32, 16
# Above it, of two boxes the better one is kept. The first is not the paper's 0.5, which boxes two
# cells apart have exactly, so that rounding would decide.
OVERLAP_IN_SCALE, OVERLAP = 0.47, 0.7
OVERLAP_OF_FACES = 0.3  # above it, two boxes show one face
SAMPLES = 2  # per side, averaged for each pixel of a resampled box


@dataclass(frozen=True)
class Search:
    """What is looked for; lengths are parts of the image's longer side.

    Attributes:
        canvas: px of the longer side after scaling.
        margin: grey that is added on every side.
        smallest, largest: side of the faces that are looked for.
        boxes: that the second network looks at, at most, in each image.
        faces: that the third network looks at.
    """

    canvas: int
    margin: float
    smallest: float
    largest: float
    boxes: int
    faces: int

    def scaled_sides(self) -> list[int]:
        """px of the whole canvas at the scales at which PNet sees it."""
        whole, face, sides = 1 + 2 * self.margin, self.smallest, []
        while face <= self.largest:
            sides.append(max(CELL, round(whole * CELL / face)))
            face /= SCALE_STEP
        return sides


SEARCHES = {
    # One face that fills most of the image; then, where none is found, a smaller one.
    "crop": (
        Search(canvas=128, margin=0.25, smallest=0.4, largest=1.2, boxes=4, faces=2),
        Search(canvas=160, margin=0.4, smallest=0.15, largest=1.4, boxes=32, faces=8),
    ),
    # Down to a 25th of the longer side; the largest, most central one is kept.
    "photo": (Search(canvas=512, margin=0.1, smallest=0.04, largest=1.1, boxes=64, faces=16),),
    # Down to a 50th, and as many as a group's photo has.
    "group": (Search(canvas=1024, margin=0.1, smallest=0.02, largest=1.1, boxes=1024, faces=256),),
}
CLOSER = 0.9  # side of the box at the second look


class Detections(NamedTuple):
    """One face of each image, NaN where none was found.

    Attributes:
        probability: (N,) that it is one, by the last network.
        boxes: (N, 4) left, top, right, bottom.
        points: (N, 5, 2) x, y; all in px of the image, 0 at the outer edge of its first pixel.
        faces: (N,) int64, how many were found.
    """

    probability: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    faces: np.ndarray


class Faces(NamedTuple):
    """All faces of one image: `probability` (F,) and `boxes` (F, 4) as in `Detections`."""

    probability: np.ndarray
    boxes: np.ndarray


class Detector:
    """The three networks.

    Args:
        faces: key of `SEARCHES`: "crop" for images of one large face, "photo" for others, "group"
            for all faces of photos.

    Raises:
        Face2ExpError: if facenet-pytorch is missing.
    """

    def __init__(self, faces: str = "crop") -> None:
        try:
            from facenet_pytorch import ONet, PNet, RNet
        except ImportError as error:
            raise Face2ExpError(MISSING) from error
        self.searches = SEARCHES[faces]
        self.pnet, self.rnet, self.onet = (
            network().eval().to(memory_format=torch.channels_last) for network in (PNet, RNet, ONet)
        )
        # Log odds instead of probabilities, of which far too many are 1 to tell the better one.
        self.pnet.softmax4_1 = nn.Identity()
        self.rnet.softmax5_1 = nn.Identity()
        self.onet.softmax6_1 = nn.Identity()

    @torch.inference_mode()
    def detect(self, images: Sequence[Image.Image]) -> Detections:
        """Find the face of each RGB image; of several the one with the largest area less twice the
        squared distance of its centre from the image's."""
        found = _nothing(len(images))
        missing = np.arange(len(images))
        for search in self.searches:
            if len(missing) == 0:
                break
            part = self._search([images[index] for index in missing.tolist()], search)
            for whole, new in zip(found, part, strict=True):
                whole[missing] = new
            missing = missing[part.faces == 0]
        return found

    @torch.inference_mode()
    def detect_all(self, images: Sequence[Image.Image]) -> list[Faces]:
        """Find all faces of each RGB image, from left to right by the middle of their boxes.

        Of boxes that show one face the best is kept, and none whose middle is outside of the image.
        """
        if not images:
            return []
        search = self.searches[-1]
        canvas, boxes, of_image = self._find(images, search)
        score = boxes.new_zeros(len(boxes))
        if len(boxes):
            boxes, score, _ = self._look(canvas, square(boxes, CLOSER), of_image)
        kept = best(boxes, score, of_image, OVERLAP_OF_FACES)
        probability, rows = score[kept].sigmoid().numpy(), of_image[kept].numpy()
        places = _in_px(images, search, boxes[kept], of_image[kept])
        middle = (places[:, :2] + places[:, 2:]) / 2
        order = np.lexsort((middle[:, 1], middle[:, 0]))
        inside = ((middle >= 0) & (middle <= np.array([i.size for i in images])[rows])).all(1)
        of_each = [order[(rows == n)[order] & inside[order]] for n in range(len(images))]
        return [Faces(probability[order], places[order]) for order in of_each]

    def _search(self, images: Sequence[Image.Image], search: Search) -> Detections:
        canvas, boxes, of_image = self._find(images, search)
        if len(boxes) == 0:
            return _nothing(len(images))
        faces = torch.bincount(of_image, minlength=len(images))
        kept = most_central(boxes, of_image, canvas.shape[-1] / 2)
        boxes, of_image = boxes[kept], of_image[kept]
        boxes, score, points = self._look(canvas, square(boxes, CLOSER), of_image)
        return _on_images(images, search, boxes, score.sigmoid(), points, of_image, faces)

    def _find(self, images: Sequence[Image.Image], search: Search) -> tuple[Tensor, Tensor, Tensor]:
        """The images as one batch, the boxes (K, 4) of their faces, and of which (K,)."""
        canvas = torch.stack([_to_canvas(image, search) for image in images])
        canvas = (canvas.permute(0, 3, 1, 2).float() - 127.5) / 128
        boxes, of_image = self._propose(canvas, search)
        if len(boxes):  # the networks take no empty batch
            boxes, of_image = self._reject(canvas, boxes, of_image, search)
        if len(boxes):
            boxes, score, _ = self._look(canvas, boxes, of_image)
            kept = score >= LOG_ODDS[2]
            boxes, score, of_image = boxes[kept], score[kept], of_image[kept]
            kept = outermost(boxes, score, of_image)
            boxes, of_image = boxes[kept], of_image[kept]
        return canvas, boxes, of_image

    def _propose(self, canvas: Tensor, search: Search) -> tuple[Tensor, Tensor]:
        """PNet at every scale: the best boxes (K, 4) of each image, and of which (K,)."""
        found = []
        for side in search.scaled_sides():
            scale = canvas.shape[-1] / side
            small = functional.interpolate(canvas, size=(side, side), mode="area")
            shift, classes = _in_blocks(self.pnet, small, PNET_BLOCK)
            score = classes[:, 1] - classes[:, 0]
            of_image, row, column = (score >= LOG_ODDS[0]).nonzero(as_tuple=True)
            corner = torch.stack([column, row], 1) * STRIDE
            boxes = torch.cat([corner, corner + CELL], 1) * scale
            score, shift = score[of_image, row, column], shift[of_image, :, row, column]
            kept = best(boxes, score, of_image, OVERLAP_IN_SCALE)
            found.append((boxes[kept], score[kept], of_image[kept], shift[kept]))
        boxes, score, of_image, shift = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept = best(boxes, score, of_image, OVERLAP)
        kept = kept[first_of_each(of_image[kept], search.boxes)]
        return square(shifted(boxes[kept], shift[kept])), of_image[kept]

    def _reject(
        self, canvas: Tensor, boxes: Tensor, of_image: Tensor, search: Search
    ) -> tuple[Tensor, Tensor]:
        """RNet: what it takes for faces, one box each."""
        faces = _resampled(canvas, boxes, of_image, RNET_SIDE)
        shift, classes = _in_blocks(self.rnet, faces, RNET_BLOCK)
        score = classes[:, 1] - classes[:, 0]
        kept = (score >= LOG_ODDS[1]).nonzero()[:, 0]
        kept = kept[best(boxes[kept], score[kept], of_image[kept], OVERLAP_OF_FACES)]
        kept = kept[first_of_each(of_image[kept], search.faces)]
        return square(shifted(boxes[kept], shift[kept])), of_image[kept]

    def _look(self, canvas: Tensor, boxes: Tensor, of_image: Tensor) -> tuple[Tensor, ...]:
        """ONet: the corrected boxes (K, 4), log odds (K,), points (K, 5, 2)."""
        faces = _resampled(canvas, boxes, of_image, ONET_SIDE)
        shift, points, classes = _in_blocks(self.onet, faces, ONET_BLOCK)
        points = points.view(-1, 2, 5).transpose(1, 2)  # x of all five, then y
        points = boxes[:, None, :2] + points * (boxes[:, 2:] - boxes[:, :2])[:, None]
        return shifted(boxes, shift), classes[:, 1] - classes[:, 0], points


def _nothing(count: int) -> Detections:
    return Detections(
        np.full(count, np.nan, np.float32),
        np.full((count, 4), np.nan, np.float32),
        np.full((count, 5, 2), np.nan, np.float32),
        np.zeros(count, np.int64),
    )


def _to_canvas(image: Image.Image, search: Search) -> Tensor:
    """(S, S, 3) uint8: the image in the middle of grey."""
    margin = round(search.margin * search.canvas)
    scale = search.canvas / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    canvas = torch.full((search.canvas + 2 * margin,) * 2 + (3,), 128, dtype=torch.uint8)
    canvas[margin : margin + height, margin : margin + width] = torch.from_numpy(np.array(small))
    return canvas


def _on_images(
    images: Sequence[Image.Image],
    search: Search,
    boxes: Tensor,
    probability: Tensor,
    points: Tensor,
    of_image: Tensor,
    faces: Tensor,
) -> Detections:
    """What was found on the canvases, in px of the images; one face each at most."""
    rows = of_image.numpy()
    found = _nothing(len(images))
    found.faces[:] = faces.numpy()
    found.probability[rows] = probability.numpy()
    found.boxes[rows] = _in_px(images, search, boxes, of_image)
    found.points[rows] = _in_px(images, search, points, of_image)
    return found


def _in_px(
    images: Sequence[Image.Image], search: Search, places: Tensor, of_image: Tensor
) -> np.ndarray:
    """Places (K, ...) on the canvases in px of the images."""
    margin = round(search.margin * search.canvas)
    longer = np.array([max(image.size) for image in images], np.float32)
    scale = longer[of_image.numpy()] / search.canvas
    in_px: np.ndarray = (places.numpy() - margin) * scale.reshape(-1, *[1] * (places.dim() - 1))
    return in_px


def _in_blocks(network: nn.Module, inputs: Tensor, block: int) -> tuple[Tensor, ...]:
    """What the network says of each input; the last block is filled up with grey."""
    count = len(inputs)
    filled = functional.pad(inputs, (0, 0, 0, 0, 0, 0, 0, -count % block))
    # Channels last: the pooling of the other order takes a CPU half of the time.
    filled = filled.contiguous(memory_format=torch.channels_last)
    outputs = zip(*(network(part) for part in filled.split(block)), strict=True)
    return tuple(torch.cat(parts)[:count] for parts in outputs)


def _resampled(canvas: Tensor, boxes: Tensor, of_image: Tensor, side: int) -> Tensor:
    """(K, 3, side, side) what the boxes hold; outside of the canvas it is grey."""
    rois = torch.cat([of_image[:, None].to(boxes), boxes], 1)
    resampled: Tensor = roi_align(canvas, rois, side, sampling_ratio=SAMPLES, aligned=True)
    return resampled


INSIDE = 0.7  # share of the smaller box above which two boxes show one face


def shifted(boxes: Tensor, shift: Tensor) -> Tensor:
    """The boxes with their edges moved by parts of their sides."""
    return boxes + shift * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def square(boxes: Tensor, part: float = 1.0) -> Tensor:
    """Squares round the same centres; their side is `part` of the longer one."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = part * (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([centre - half, centre + half], 1)


def best(boxes: Tensor, score: Tensor, of_image: Tensor, overlap: float) -> Tensor:
    """Where the boxes stand that no better one of the same image overlaps, the best first."""
    # batched_nms moves the boxes of each image apart: in float32, they would lose digits by that.
    kept: Tensor = batched_nms(boxes.double(), score.double(), of_image, overlap)
    return kept


def first_of_each(of_image: Tensor, most: int) -> Tensor:
    """Where the first `most` entries of each image stand."""
    order = torch.argsort(of_image, stable=True)
    ordered = of_image[order]
    rank = torch.arange(len(order)) - torch.searchsorted(ordered, ordered)
    return order[rank < most]


def outermost(boxes: Tensor, score: Tensor, of_image: Tensor) -> Tensor:
    """(K,) bool: no better box of the same image lies in this one, or this one in it."""
    corner = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    far = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    shared = (far - corner).clamp(min=0).prod(2)
    inside = shared > INSIDE * torch.minimum(area[:, None], area[None])
    better = score[None] > score[:, None]
    return ~(inside & better & (of_image[:, None] == of_image[None])).any(1)


def most_central(boxes: Tensor, of_image: Tensor, middle: float) -> Tensor:
    """Where the large, central face of each image stands: see `Detector.detect`."""
    away = ((boxes[:, :2] + boxes[:, 2:]) / 2 - middle).square().sum(1)
    merit = (boxes[:, 2:] - boxes[:, :2]).prod(1) - 2 * away
    order = torch.argsort(merit, descending=True, stable=True)
    return order[first_of_each(of_image[order], 1)]
