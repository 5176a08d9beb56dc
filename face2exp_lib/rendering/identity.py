"""Who a face is: head shape, skin, hair and features, drawn once per identity.

Skin shade, hair and head shape are drawn independently of each other: nothing here stands for a
group of people. Colours are linear-light reflectances (red, green, blue), 0 to 1.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from face2exp_lib.rendering.assets import load_assets
from face2exp_lib.rendering.hair_styles import HAIR_STYLES, VARIANTS

SKIN_ALBEDOS = np.array([
    [0.66, 0.46, 0.385], [0.60, 0.40, 0.315], [0.53, 0.335, 0.25], [0.45, 0.27, 0.19],
    [0.36, 0.20, 0.132], [0.27, 0.145, 0.092], [0.19, 0.098, 0.062], [0.125, 0.064, 0.043],
    [0.080, 0.043, 0.031],
])  # fmt: skip
# Black to blond, red, then two greys.
HAIR_ALBEDOS = np.array([
    [0.012, 0.010, 0.009], [0.028, 0.018, 0.013], [0.065, 0.036, 0.022], [0.14, 0.08, 0.04],
    [0.27, 0.175, 0.085], [0.34, 0.245, 0.132], [0.23, 0.085, 0.04], [0.14, 0.136, 0.132],
    [0.23, 0.226, 0.218],
])  # fmt: skip
NUM_GREYS = 2
# Browns, green, blue, light blue, grey.
IRIS_ALBEDOS = 0.55 * np.array([
    [0.16, 0.09, 0.05], [0.25, 0.15, 0.08], [0.35, 0.26, 0.14], [0.28, 0.33, 0.22],
    [0.30, 0.40, 0.50], [0.45, 0.55, 0.62], [0.40, 0.42, 0.42],
])  # fmt: skip
# Red, dark red, pink, plum, brown, coral.
LIPSTICK_ALBEDOS = np.array([
    [0.45, 0.04, 0.05], [0.22, 0.02, 0.03], [0.58, 0.17, 0.24], [0.26, 0.06, 0.14],
    [0.30, 0.13, 0.09], [0.60, 0.18, 0.12],
], np.float32)  # fmt: skip
NUM_DARK = 3  # the first hair and iris colours, the only ones on the darker half of skin shades

# How often each style of `hair_styles.HAIR_STYLES` is worn: (men, women).
STYLE_SHARES = {
    "bald": (0.07, 0.01), "buzz": (0.12, 0.03), "receding": (0.10, 0.0),
    "side parted": (0.17, 0.05), "cropped": (0.17, 0.06), "curly": (0.09, 0.07),
    "afro": (0.04, 0.06), "swept back": (0.10, 0.10), "bob": (0.01, 0.18), "long": (0.05, 0.18),
    "long wavy": (0.04, 0.14), "tied": (0.04, 0.12),
}  # fmt: skip
MAYBE_MIDDLE = ("bob", "long", "long wavy")
MAYBE_FRINGE = ("bob", "long", "long wavy", "tied")
BEARDS = {"none": 0.36, "stubble": 0.28, "moustache": 0.07, "goatee": 0.11, "full": 0.18}

OPPOSITES = (
    ("incr", "decr"), ("up", "down"), ("out", "in"), ("forward", "backward"),
    ("convex", "concave"), ("uncompress", "compress"),
)  # fmt: skip
HEAD_OUTLINES = (
    "diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular",
)  # fmt: skip
# How far a local shape varies beside its usual spread; the first pattern found counts.
SHAPE_SPREADS = (
    (("head-trans", "neck-trans"), 0.35),
    (("eyebrows", "angles"), 0.5),
    (("/neck", "ear-", "head-scale", "head-back", "head-angle", "forehead-"), 0.55),
)
USUAL_SPREAD, LOCAL_SPREAD = 0.8, 0.33
RESTING_LIDS = (0.12, 0.36)  # ARKit weight of closing lids in a resting face


@dataclass(frozen=True)
class Identity:
    """One person. Lengths in decimetres, strengths 0 to 1 unless said otherwise.

    Attributes:
        shape: shape target -> weight.
        age: 0 a young adult, 1 old.
        masculinity: 0 to 1, the mix of the two sculpted body types.
        skin_shade: 0 the lightest, 1 the darkest.
        hair_style: one of `hair_styles.HAIR_STYLES`; hair_variant: which of its growths.
        parting: distance of the parting from the midline, > 0 on the person's left.
        fringe: whether hair falls over the forehead.
        beard_kind: none, stubble, moustache, goatee or full; beard: its density.
        brow_thickness, brow_arch: factors; brow_height: decimetres.
        pupil_radius: radians as seen from the centre of the eyeball.
        neckline: height of the collar.
        texture_offset: (3,) where in the noise lattice this skin lies.
    """

    shape: dict[str, float]
    age: float
    masculinity: float
    skin_shade: float
    skin_albedo: np.ndarray
    skin_gloss: float
    mottling: float
    blush: float
    freckles: float
    dark_under_eyes: float
    wrinkle_depth: float
    hair_style: str
    hair_albedo: np.ndarray
    hair_thickness: float
    hairline_recession: float
    hairline_shift: float
    hair_variant: int
    parting: float
    fringe: bool
    beard_kind: str
    beard: float
    brow_albedo: np.ndarray
    brow_thickness: float
    brow_opacity: float
    brow_arch: float
    brow_height: float
    iris_albedo: np.ndarray
    pupil_radius: float
    eye_shadow: float
    lip_colour: float
    lipstick: float
    lipstick_albedo: np.ndarray
    rouge: float
    teeth_brightness: float
    clothes_albedo: np.ndarray
    neckline: float
    texture_offset: np.ndarray


@cache
def local_shape_pairs() -> tuple[tuple[str, str, str | None, str | None], ...]:
    """(target, opposite, the same two on the other side or None) of every local shape."""
    targets = load_assets().targets
    pairs = []
    for name in targets:
        # head-age makes heads child-like; every face here is an adult
        if not name.startswith("loc:") or "/r-" in name or "head-age" in name:
            continue
        for word, opposite in OPPOSITES:
            other = name.removesuffix(word) + opposite
            if name.endswith("-" + word) and other in targets:
                mirrored = "/l-" in name
                pairs.append(
                    (
                        name,
                        other,
                        name.replace("/l-", "/r-") if mirrored else None,
                        other.replace("/l-", "/r-") if mirrored else None,
                    )
                )
    return tuple(pairs)


@cache
def shape_spread(target: str) -> float:
    """Standard deviation of a local shape's weight."""
    if "trans-out" in target and "/l-" not in target:  # moves a single feature off the midline
        return LOCAL_SPREAD * 0.35
    for patterns, spread in SHAPE_SPREADS:
        if any(pattern in target for pattern in patterns):
            return LOCAL_SPREAD * spread
    return LOCAL_SPREAD * USUAL_SPREAD


def sample_shape(
    generator: np.random.Generator, masculinity: float, age: float, weight: float
) -> dict[str, float]:
    """Shape target weights: a mix of whole heads, then local shapes of every feature."""
    axis_mix = generator.dirichlet([0.6, 0.6, 0.6])
    weights: dict[str, float] = {}
    for sex, sex_mix in (("male", masculinity), ("female", 1 - masculinity)):
        for years, age_mix in (("young", 1 - age), ("old", age)):
            mix = sex_mix * age_mix
            weights[f"blend:{sex}-{years}-minweight"] = mix * max(0.0, -weight)
            weights[f"blend:{sex}-{years}-maxweight"] = mix * max(0.0, weight)
            for axis, share in zip("abc", axis_mix, strict=True):
                weights[f"axis:{axis}-{sex}-{years}"] = mix * share
    for positive, negative, positive_right, negative_right in local_shape_pairs():
        value = min(max(generator.normal(0, shape_spread(positive)), -1.0), 1.0)
        weights[positive if value > 0 else negative] = abs(value)
        if positive_right is not None and negative_right is not None:
            value = min(max(value + generator.normal(0, 0.06), -1.0), 1.0)  # no face is symmetric
            weights[positive_right if value > 0 else negative_right] = abs(value)
    outline = HEAD_OUTLINES[generator.integers(len(HEAD_OUTLINES))]
    weights[f"loc:head/head-{outline}"] = generator.uniform(0, 0.7)
    if age > 0.5:
        weights["loc:head/head-age-incr"] = 0.5 * (age - 0.5)
    # The template stares: a resting upper lid lies on the iris.
    lid = generator.uniform(*RESTING_LIDS)
    weights |= {"au:eyeBlinkLeft": lid, "au:eyeBlinkRight": lid}
    return {name: float(value) for name, value in weights.items() if value > 1e-3}


def sample_skin(generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """Reflectance (3,) and shade: 0 the lightest, 1 the darkest, uniform in between."""
    position = generator.uniform(0, len(SKIN_ALBEDOS) - 1.001)
    lighter = int(position)
    part = position - lighter
    albedo = SKIN_ALBEDOS[lighter] * (1 - part) + SKIN_ALBEDOS[lighter + 1] * part
    tint = np.array([1, 1 + generator.normal(0, 0.04), 1 + generator.normal(0, 0.07)])
    albedo = np.clip(albedo * (1 + generator.normal(0, 0.035, 3)) * tint, 0.015, 0.8)
    return albedo, position / (len(SKIN_ALBEDOS) - 1)


def sample_identity(generator: np.random.Generator) -> Identity:
    """Draw a person."""
    rng = generator
    masculinity, age = float(rng.beta(0.5, 0.5)), float(rng.beta(1.0, 1.6))
    weight = float(np.clip(rng.normal(0.05, 0.45), -1, 1))
    shape = sample_shape(rng, masculinity, age, weight)
    skin_albedo, shade = sample_skin(rng)
    male, light = masculinity > 0.5, shade < 0.5

    grey = rng.random() < max(0.0, age - 0.45) * 1.6
    coloured = len(HAIR_ALBEDOS) - NUM_GREYS
    if grey:
        hair = HAIR_ALBEDOS[coloured + rng.integers(NUM_GREYS)]
    else:
        hair = HAIR_ALBEDOS[rng.integers(coloured if light else NUM_DARK)]
    hair = np.clip(hair * (1 + rng.normal(0, 0.12)), 0.01, 0.9)
    brow = hair * (rng.uniform(0.25, 0.6) if grey else rng.uniform(0.5, 0.95))
    shares = np.array([men if male else women for men, women in STYLE_SHARES.values()])
    style = str(rng.choice(list(STYLE_SHARES), p=shares / shares.sum()))
    parting = rng.choice([-0.3, 0.0, 0.3]) if style in MAYBE_MIDDLE else rng.choice([-0.3, 0.3])
    beard = str(rng.choice(list(BEARDS), p=list(BEARDS.values())))
    recession = rng.uniform(0, 0.08) + male * max(0.0, age - 0.3) * rng.uniform(0, 0.5)
    if style == "receding":
        recession = rng.uniform(0.25, 0.5)
    feminine = masculinity < 0.45
    return Identity(
        shape=shape,
        age=age,
        masculinity=masculinity,
        skin_shade=float(shade),
        skin_albedo=skin_albedo.astype(np.float32),
        skin_gloss=rng.uniform(0.3, 0.9),
        mottling=rng.uniform(0.04, 0.1) + 0.06 * age,
        blush=rng.uniform(0.1, 0.6),
        freckles=(shade < 0.55 and rng.random() < 0.2) * rng.uniform(0.3, 1),
        dark_under_eyes=rng.uniform(0.05, 0.35) + 0.3 * age,
        wrinkle_depth=0.45 + 0.9 * age,
        hair_style=style,
        hair_albedo=hair.astype(np.float32),
        hair_thickness=rng.uniform(*HAIR_STYLES[style].thickness),
        hairline_recession=recession,
        hairline_shift=rng.normal(0, 0.02),
        hair_variant=int(rng.integers(VARIANTS)),
        parting=float(parting),
        fringe=bool(rng.random() < 0.4 and style in MAYBE_FRINGE),
        beard_kind=beard if masculinity > 0.55 else "none",
        beard=rng.uniform(0.5, 1.0),
        brow_albedo=np.clip(brow, 0.01, 0.5).astype(np.float32),
        brow_thickness=rng.uniform(0.6, 1.25) * (1 + 0.25 * masculinity),
        brow_opacity=rng.uniform(0.6, 0.95),
        brow_arch=rng.uniform(0.2, 1.1) * (1.1 - 0.4 * masculinity),
        brow_height=rng.normal(0, 0.012),
        iris_albedo=IRIS_ALBEDOS[rng.integers(len(IRIS_ALBEDOS) if light else NUM_DARK)].astype(
            np.float32
        ),
        pupil_radius=rng.uniform(0.17, 0.27),
        eye_shadow=(feminine and rng.random() < 0.3) * rng.uniform(0.2, 0.6),
        lip_colour=rng.uniform(0.35, 1.0),
        lipstick=(feminine and rng.random() < 0.4) * rng.uniform(0.3, 0.85),
        lipstick_albedo=LIPSTICK_ALBEDOS[rng.integers(len(LIPSTICK_ALBEDOS))],
        rouge=(feminine and rng.random() < 0.3) * rng.uniform(0.2, 0.6),
        teeth_brightness=rng.uniform(0.7, 0.95),
        clothes_albedo=(rng.uniform(0.02, 0.7, 3) * rng.uniform(0.3, 1)).astype(np.float32),
        neckline=rng.uniform(5.55, 5.95),
        texture_offset=rng.uniform(0, 50, 3).astype(np.float32),
    )
