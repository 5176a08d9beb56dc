"""What is known about one rendered face."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from face2exp_lib.rendering.assets import load_assets
from face2exp_lib.rendering.head import LANDMARKS


@cache
def action_names() -> tuple[str, ...]:
    """The 52 ARKit units in alphabetical order."""
    targets = load_assets().targets
    return tuple(sorted(name.removeprefix("au:") for name in targets if name.startswith("au:")))


@dataclass(frozen=True)
class FaceRecord:
    """The truth about an image.

    Attributes:
        expression: the label; differs from `true_expression` where label noise struck.
        true_expression: the class that is shown; of a compound the dominant one.
        mixture: class -> share, summing to 1.
        identity: number of the person.
        intensity: strength of the expression, 1 is the prototype in full; 0 for neutral.
        yaw, pitch, roll: of the head, degrees: to the right of the picture, upward,
            counter-clockwise.
        landmarks: (5, 2) pixels right and down from the picture's upper left corner, pixel centres
            at .5: left eye, right eye, nose, left and right corner of the mouth, left as seen.
        light: direction of the main light, degrees: (to the right of the picture, upward).
        skin_shade: 0 the lightest, 1 the darkest.
        action_weights: ARKit unit -> weight; units at rest are left out.
        occluder: what covers part of the face, a key of `occluders.OCCLUDERS`, or "".
            Landmarks are the true points, also where they are covered.
    """

    expression: str
    true_expression: str
    mixture: dict[str, float]
    identity: int
    intensity: float
    yaw: float
    pitch: float
    roll: float
    landmarks: np.ndarray
    light: tuple[float, float]
    skin_shade: float
    action_weights: dict[str, float]
    occluder: str

    def row(self) -> dict[str, str]:
        """The record as the cells of a CSV row; action weights are hundredths, all 52 in order."""
        cells = {
            "expression": self.expression,
            "identity": str(self.identity),
            "intensity": f"{self.intensity:.3f}",
            "yaw": f"{self.yaw:.1f}",
            "pitch": f"{self.pitch:.1f}",
            "roll": f"{self.roll:.1f}",
        }
        for name, (x, y) in zip(LANDMARKS, self.landmarks, strict=True):
            cells |= {f"{name}_x": f"{x:.2f}", f"{name}_y": f"{y:.2f}"}
        cells |= {
            "light_azimuth": f"{self.light[0]:.0f}",
            "light_elevation": f"{self.light[1]:.0f}",
            "skin_shade": f"{self.skin_shade:.2f}",
            "occluder": self.occluder,
            "true_expression": self.true_expression,
            "mixture": " ".join(f"{name}:{share:.2f}" for name, share in self.mixture.items()),
            "action_weights": " ".join(
                f"{100 * self.action_weights.get(name, 0):.0f}" for name in action_names()
            ),
        }
        return cells
