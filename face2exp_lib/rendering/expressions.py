"""What a face does: facial action units, and the expressions composed of them.

Everything that defines an expression stands in the two tables below. `ACTION_UNITS` draws a unit of
the Facial Action Coding System (Ekman, Friesen & Hager, FACS, 2002) with ARKit face units, the
weights of the mesh's shape targets. `PROTOTYPES` lists the units of each expression: the emotion
prototypes of the FACS Investigator's Guide, tables 10-1 and 10-2, and Du, Tao & Martinez, "Compound
facial expressions of emotion", PNAS 2014, table 1, each with variants as people show them.
"""

from dataclasses import dataclass, field

import numpy as np

from face2exp_lib.data.sets.labels import class_names

CLASSES = class_names(8)


@dataclass(frozen=True)
class ActionUnit:
    """A FACS unit: its name there, and the ARKit weights at full strength (`*`: Left and Right).

    Weights above 1 exaggerate a target whose sculpted movement is smaller than a person's.
    """

    name: str
    arkit: dict[str, float]


ACTION_UNITS = {
    1: ActionUnit("inner brow raiser", {"browInnerUp": 1.5}),
    2: ActionUnit("outer brow raiser", {"browOuterUp*": 1.2}),
    4: ActionUnit("brow lowerer", {"browDown*": 1.25}),
    5: ActionUnit("upper lid raiser", {"eyeWide*": 1.5}),
    6: ActionUnit("cheek raiser", {"cheekSquint*": 1.2, "eyeSquint*": 0.8}),
    7: ActionUnit("lid tightener", {"eyeSquint*": 1.2}),
    # noseSneer lowers the inner brows as it is; the eye narrows with it
    9: ActionUnit(
        "nose wrinkler",
        {
            "noseSneer*": 1.2,
            "browDown*": 0.25,
            "mouthUpperUp*": 0.35,
            "cheekSquint*": 0.8,
            "eyeSquint*": 0.7,
        },
    ),
    10: ActionUnit("upper lip raiser", {"mouthUpperUp*": 1.0, "noseSneer*": 0.25}),
    12: ActionUnit("lip corner puller", {"mouthSmile*": 1.5}),
    14: ActionUnit("dimpler", {"mouthDimple*": 0.9}),
    15: ActionUnit("lip corner depressor", {"mouthFrown*": 1.3}),
    16: ActionUnit("lower lip depressor", {"mouthLowerDown*": 0.9}),
    17: ActionUnit("chin raiser", {"mouthShrugLower": 0.9, "mouthShrugUpper": 0.25}),
    18: ActionUnit("lip pucker", {"mouthPucker": 0.8}),
    20: ActionUnit("lip stretcher", {"mouthStretch*": 1.1}),
    22: ActionUnit("lip funneler", {"mouthFunnel": 0.8}),
    # mouthPress alone reads as a smirk: pressed lips are mostly rolled in, with a little pucker
    23: ActionUnit(
        "lip tightener",
        {"mouthRollLower": 0.5, "mouthRollUpper": 0.5, "mouthPucker": 0.3, "mouthPress*": 0.15},
    ),
    24: ActionUnit(
        "lip pressor",
        {"mouthRollLower": 0.75, "mouthRollUpper": 0.65, "mouthPucker": 0.2, "mouthPress*": 0.3},
    ),
    25: ActionUnit("lips part", {"mouthLowerDown*": 0.35, "mouthUpperUp*": 0.25, "jawOpen": 0.06}),
    26: ActionUnit("jaw drop", {"jawOpen": 0.42}),
    27: ActionUnit("mouth stretch", {"jawOpen": 0.9}),
    29: ActionUnit("jaw thrust", {"jawForward": 0.5}),
    43: ActionUnit("eye closure", {"eyeBlink*": 1.0}),
}


@dataclass(frozen=True)
class Prototype:
    """One way to show an expression.

    Attributes:
        share: how often it is shown this way, among the variants of its class.
        units: FACS unit -> strength at intensity 1.
        one_sided: shown by one side of the face only, a side drawn anew for each face.
    """

    share: float
    units: dict[int, float] = field(default_factory=dict)
    one_sided: bool = False


PROTOTYPES = {
    "neutral": [Prototype(1.0)],
    "happy": [
        Prototype(0.40, {6: 0.8, 12: 1.05}),
        Prototype(0.40, {6: 0.9, 12: 1.0, 25: 0.8, 26: 0.2}),
        Prototype(0.20, {6: 1.0, 12: 1.1, 25: 0.8, 26: 0.7}),
    ],
    "surprise": [
        Prototype(0.6, {1: 1.0, 2: 1.0, 5: 1.0, 26: 1.1}),
        Prototype(0.4, {1: 1.1, 2: 1.1, 5: 0.8, 25: 0.3, 27: 0.8}),
    ],
    "sad": [
        Prototype(0.5, {1: 1.15, 4: 0.55, 15: 1.1, 17: 0.4}),
        Prototype(0.3, {1: 1.1, 4: 0.7, 15: 1.0, 17: 0.9, 43: 0.1}),
        Prototype(0.2, {1: 1.0, 4: 0.5, 15: 0.9, 25: 0.3, 43: 0.2}),
    ],
    "anger": [
        Prototype(0.4, {4: 1.25, 5: 0.5, 7: 0.6, 23: 0.5, 24: 0.6, 17: 0.45}),
        Prototype(0.3, {4: 1.25, 5: 0.6, 7: 0.5, 10: 0.6, 16: 0.9, 25: 0.8, 26: 0.45}),
        Prototype(0.3, {4: 1.25, 5: 0.4, 7: 0.6, 23: 1.0, 17: 0.4}),
    ],
    "disgust": [
        Prototype(0.40, {9: 1.15, 10: 1.4, 15: 1.0, 17: 0.5}),
        Prototype(0.25, {9: 1.15, 10: 1.4, 16: 0.3, 25: 0.4}),
        Prototype(0.35, {9: 1.15, 10: 0.9, 17: 1.0, 15: 0.8}),
    ],
    "fear": [
        Prototype(0.5, {1: 1.1, 2: 0.4, 4: 0.85, 5: 1.2, 20: 1.25, 25: 0.8}),
        Prototype(0.5, {1: 1.1, 2: 0.4, 4: 0.8, 5: 1.2, 20: 1.25, 25: 0.6, 26: 0.6}),
    ],
    "contempt": [Prototype(1.0, {12: 0.6, 14: 1.0, 10: 0.3}, one_sided=True)],
}

# In a compound `dominant+other` both prototypes are shown, at these strengths.
COMPOUND_STRENGTHS = (0.9, 0.6)

# Small movements that mean nothing: speech, chewing, the way a face rests.
IDLE_UNITS = (
    "browInnerUp", "browOuterUp*", "browDown*", "eyeSquint*", "eyeBlink*", "mouthSmile*",
    "mouthFrown*", "mouthPress*", "mouthPucker", "jawOpen", "mouthShrugLower", "mouthUpperUp*",
    "mouthLowerDown*", "mouthDimple*", "noseSneer*", "cheekSquint*", "mouthStretch*",
)  # fmt: skip
IDLE_PROBABILITY = 0.35
UNIT_SPREAD = 0.15  # relative standard deviation of a unit's strength
SIDE_SPREAD = 0.12  # the same between the two sides of the face
OTHER_SIDE = 0.05  # what the other side still does in a one-sided expression
GAZE_SPREAD = (0.18, 0.12)  # standard deviation of gaze, sideways and up, in ARKit weight
LARGEST_WEIGHT = 1.9


def both_sides(name: str) -> list[str]:
    """ARKit names that a table entry stands for."""
    return [name[:-1] + "Left", name[:-1] + "Right"] if name.endswith("*") else [name]


def prototype_weights(
    prototype: Prototype, strength: float, generator: np.random.Generator
) -> dict[str, float]:
    """ARKit weights of a prototype as one face shows it once."""
    weights: dict[str, float] = {}
    left_acts = generator.random() < 0.5
    for unit, unit_strength in prototype.units.items():
        spread = max(0.0, 1 + UNIT_SPREAD * generator.standard_normal())
        shown = unit_strength * strength * spread
        for entry, full in ACTION_UNITS[unit].arkit.items():
            for name in both_sides(entry):
                side = 1.0
                if name != entry and prototype.one_sided:
                    side = 1.0 if name.endswith("Left") == left_acts else OTHER_SIDE
                elif name != entry:
                    side = max(0.0, 1 + SIDE_SPREAD * generator.standard_normal())
                weights[name] = weights.get(name, 0.0) + full * shown * side
    return weights


def sample_action_weights(
    mixture: str, intensity: float, idle: float, generator: np.random.Generator
) -> dict[str, float]:
    """ARKit weights of one shown expression, in alphabetical order.

    Args:
        mixture: a class name, or `dominant+other` for a compound.
        intensity: 1 is the prototype in full.
        idle: scale of the small movements that mean nothing.
        generator: where the variant, the spreads, the idle movements and the gaze come from.
    """
    parts = mixture.split("+")
    strengths = (1.0,) if len(parts) == 1 else COMPOUND_STRENGTHS
    weights: dict[str, float] = {}
    for part, strength in zip(parts, strengths, strict=True):
        shares = np.array([prototype.share for prototype in PROTOTYPES[part]])
        prototype = PROTOTYPES[part][generator.choice(len(shares), p=shares / shares.sum())]
        for name, weight in prototype_weights(prototype, intensity * strength, generator).items():
            weights[name] = weights.get(name, 0.0) + weight
    for entry in IDLE_UNITS:
        if generator.random() < IDLE_PROBABILITY:
            size = abs(generator.standard_normal()) * idle
            for name in both_sides(entry):
                side = max(0.0, 1 + 0.3 * generator.standard_normal())
                weights[name] = weights.get(name, 0.0) + size * side
    weights.update(gaze_weights(*(generator.normal(0, spread) for spread in GAZE_SPREAD)))
    return possible_weights(weights)


def possible_weights(weights: dict[str, float]) -> dict[str, float]:
    """What a face can do of `weights`, in alphabetical order; units at rest are left out."""
    weights = dict(weights)
    for side in ("Left", "Right"):
        if weights.get("eyeWide" + side, 0.0) > 0.4:  # wide open and closing exclude each other
            weights["eyeBlink" + side] = 0.0
    return {
        name: float(np.clip(weight, 0, LARGEST_WEIGHT))
        for name, weight in sorted(weights.items())
        if weight > 1e-3
    }


def gaze_weights(to_left: float, up: float) -> dict[str, float]:
    """ARKit weights that turn both eyes to the face's own left and up (negative: right, down)."""
    if to_left > 0:
        sideways = {"eyeLookOutLeft": to_left, "eyeLookInRight": to_left}
    else:
        sideways = {"eyeLookInLeft": -to_left, "eyeLookOutRight": -to_left}
    vertical = "eyeLookUp" if up > 0 else "eyeLookDown"
    return sideways | {vertical + side: abs(up) for side in ("Left", "Right")}
