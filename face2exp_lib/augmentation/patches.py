"""Aug(.) for FR faces: patches at the landmarks, and all three groups together (paper 3.3, Fig. 3).

The paper: "we augment face images to purify facial expression feature extraction by covering areas
unrelated to facial expression. Specifically, we apply MTCNN to detect five facial landmarks and
empirically determine the patch centered on landmarks", 50 x 20 px for the eyes, 50 x 40 px for nose
and mouth, 224 x 50 px for the forehead, of a view of 224 px. What the words fix and what they leave
open, and what is done here:

- What is covered is unrelated to expression, and eyes and mouth are not: the patches stay in
  sight, the rest is covered (`keep`). L_c needs this, too: its two images are to have close class
  distributions. But the paper later calls the module an "expression-specific cover", which reads
  as if the patches were what covers: `cover` is that.
- A patch is "centered on landmarks": each of the five has its own, so the mouth has one at each of
  its corners. `mouth: middle` draws a single one between them.
- The forehead has no landmark. Its strip is as wide as the view, so nothing moves it sideways; it
  is the view's uppermost 50 px, where the forehead lies in a detected face. It stands in the list
  of patches and is treated like them; as it may show more hair than wrinkles, `patch_parts` can
  leave it out, and is also what reduces `cover` to the forehead alone.
- Sizes are given as width x height of a view, so patches are upright there, whatever the rotation;
  their centres move with the face.
- Nothing is said of chance: every Aug(x_FR) has its patches unless `patch_probability` is lowered.
- Covered pixels show the mean colour, 0 after normalisation, like erased ones. Black would lie two
  deviations away and move the batch's statistics.
"""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from face2exp_lib.augmentation.draw import View, affine_maps, draw_conventional, draw_extensive

VIEW_SIDE = 224  # px, the side of the view to which the paper's sizes belong
EYE, NOSE_OR_MOUTH, FOREHEAD = (50, 20), (50, 40), (224, 50)  # px, width and height
MIRRORED = [1, 0, 2, 4, 3]  # landmarks of a mirror image in their order from left to right

Part = Literal["eyes", "nose", "mouth", "forehead"]


@dataclass(frozen=True)
class AugOptions:
    """Readings of Aug(x_FR) where the paper leaves a choice.

    Attributes:
        patches: `keep`, all but the patches is covered (default, see the module); `cover`, the
            patches are covered; `none`, without this group.
        patch_parts: which patches there are.
        mouth: a patch at each of its `corners` (default), or one in the `middle` between them.
        patch_probability: share of the faces with patches.
        groups: `together`, all three groups on one face, which is how one module with three types
            of transformation reads (default); or `either`, each face has the conventional group and
            one of the other two: patches with `patch_probability`, else the extensive one.
    """

    patches: Literal["keep", "cover", "none"] = "keep"
    patch_parts: tuple[Part, ...] = ("eyes", "nose", "mouth", "forehead")
    mouth: Literal["corners", "middle"] = "corners"
    patch_probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    groups: Literal["together", "either"] = "together"

    def __post_init__(self) -> None:
        if not self.patch_parts:
            raise ValueError("patch_parts is empty: set patches to none")
        if self.groups == "either" and self.patch_probability == 1:
            raise ValueError("either group: set patch_probability below 1, or no face is extensive")


def draw_aug(
    landmarks: Tensor,
    generator: torch.Generator,
    options: AugOptions,
    *,
    crop_fraction: float,
    stored_size: int,
) -> View:
    """Aug(.): a view of each FR face.

    Args:
        landmarks: (N, 5, 2) x, y in px of the stored images, in the order of `FaceSet.landmarks`.
        crop_fraction: s / S.
        stored_size: S.
    """
    num_images = len(landmarks)
    view = draw_extensive(num_images, generator, crop_fraction=crop_fraction)
    if options.patches == "none":
        return view
    chosen = torch.rand(num_images, generator=generator) < options.patch_probability
    if options.groups == "either":
        plain = draw_conventional(num_images, generator, crop_fraction=crop_fraction)
        view = _choose(chosen, plain, view)
    points = move_points(landmarks / stored_size, view, crop_fraction)
    patches = place_patches(points, options.patch_parts, options.mouth)
    keep = chosen.float() if options.patches == "keep" else torch.zeros(num_images)
    return replace(view, patches=patches * chosen[:, None, None], keep=keep)


def move_points(points: Tensor, view: View, crop_fraction: float) -> Tensor:
    """Where a view shows points of its images.

    Args:
        points: (N, 5, 2) x, y in 0..1 of the stored image.

    Returns:
        (N, 5, 2) x, y in 0..1 of the view, outside of it where they are cropped away. In a mirror
        image the points of a pair change places: the first stays the one on the left.
    """
    maps = affine_maps(view, crop_fraction)
    turned, shift = maps[:, :, :2], maps[:, :, 2]
    moved = torch.linalg.solve(turned, (2 * points - 1 - shift[:, None]).mT).mT
    moved = torch.where(view.flip[:, None, None] < 0, moved[:, MIRRORED], moved)
    return (moved + 1) / 2


def place_patches(
    points: Tensor, parts: tuple[Part, ...], mouth: Literal["corners", "middle"]
) -> Tensor:
    """Patches around points of a view.

    Args:
        points: (N, 5, 2) x, y in 0..1 of the view.

    Returns:
        (N, P, 4) left, top, right, bottom in 0..1 of the view.
    """
    left_eye, right_eye, nose, left_corner, right_corner = points.unbind(1)
    middle = [(left_corner + right_corner) / 2]
    top = torch.tensor([0.5, FOREHEAD[1] / VIEW_SIDE / 2]).expand_as(nose)
    centres = {
        "eyes": ([left_eye, right_eye], EYE),
        "nose": ([nose], NOSE_OR_MOUTH),
        "mouth": ([left_corner, right_corner] if mouth == "corners" else middle, NOSE_OR_MOUTH),
        "forehead": ([top], FOREHEAD),
    }
    rectangles = []
    for part in parts:
        of_part, sides = centres[part]
        half = torch.tensor(sides) / VIEW_SIDE / 2
        rectangles += [torch.cat([centre - half, centre + half], 1) for centre in of_part]
    return torch.stack(rectangles, 1)


def _choose(chosen: Tensor, view: View, other: View) -> View:
    """`view` where `chosen`, else `other`; a row an image."""
    picked = {}
    for field in fields(View):
        first, second = getattr(view, field.name), getattr(other, field.name)
        rows = chosen.reshape(-1, *[1] * (first.ndim - 1))
        picked[field.name] = torch.where(rows, first, second)
    return View(**picked)
