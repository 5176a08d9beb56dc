"""The table of hair styles."""

from dataclasses import dataclass

FALL_Y = 7.25  # decimetres; below it long hair falls free of the skull


@dataclass(frozen=True)
class HairStyle:
    """How a style grows. Lengths in decimetres.

    Attributes:
        comb: crown (away from the whorl), part (to both sides of a parting), back, or tied
            (towards a knot).
        thickness: range of the height of the hair above the skull.
        locks: how many; width: range of their widths; length: range of their lengths.
        lowest: they are cut at this height.
        wave: sideways swing of the locks; wave_length: from swing to swing.
        stand: how far the tips stand off.
        rows: points along a lock.
    """

    comb: str
    thickness: tuple[float, float]
    locks: int = 0
    width: tuple[float, float] = (0.05, 0.11)
    length: tuple[float, float] = (0.3, 0.5)
    lowest: float = 6.9
    wave: float = 0.0
    wave_length: float = 0.6
    stand: float = 0.0
    rows: int = 5


HAIR_STYLES = {
    "bald": HairStyle("crown", (0.0, 0.0)),
    "buzz": HairStyle("crown", (0.010, 0.022)),
    "receding": HairStyle(
        "back", (0.03, 0.05), locks=140, width=(0.02, 0.05), length=(0.2, 0.4), lowest=7.3,
        stand=0.008, rows=4,
    ),
    "side parted": HairStyle(
        "part", (0.06, 0.11), locks=230, width=(0.025, 0.07), length=(0.35, 0.8), lowest=7.5,
        stand=0.012,
    ),
    "cropped": HairStyle(
        "crown", (0.05, 0.09), locks=320, width=(0.02, 0.05), length=(0.2, 0.4), lowest=7.4,
        stand=0.04, rows=4,
    ),
    "curly": HairStyle(
        "crown", (0.10, 0.16), locks=230, width=(0.05, 0.09), length=(0.18, 0.32), lowest=7.25,
        wave=0.04, wave_length=0.20, stand=0.04, rows=6,
    ),
    "afro": HairStyle(
        "crown", (0.18, 0.32), locks=260, width=(0.05, 0.09), length=(0.12, 0.26), lowest=7.3,
        wave=0.04, wave_length=0.16, stand=0.045, rows=5,
    ),
    "swept back": HairStyle(
        "back", (0.10, 0.19), locks=210, width=(0.04, 0.10), length=(0.8, 1.3), lowest=7.05,
        wave=0.035, wave_length=0.8, rows=9,
    ),
    "bob": HairStyle(
        "part", (0.07, 0.12), locks=180, width=(0.06, 0.13), length=(1.9, 2.3), lowest=6.42,
        wave=0.012, wave_length=0.9, rows=11,
    ),
    "long": HairStyle(
        "part", (0.05, 0.10), locks=220, width=(0.06, 0.14), length=(3.2, 4.0), lowest=4.9,
        wave=0.015, wave_length=1.2, rows=11,
    ),
    "long wavy": HairStyle(
        "part", (0.08, 0.15), locks=220, width=(0.06, 0.14), length=(2.6, 3.8), lowest=5.1,
        wave=0.06, wave_length=0.65, rows=14,
    ),
    "tied": HairStyle(
        "tied", (0.03, 0.06), locks=130, width=(0.03, 0.08), length=(0.4, 0.9), rows=8
    ),
}  # fmt: skip
VARIANTS = 4  # growths of each style
