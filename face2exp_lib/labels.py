"""Expression names, the project's one class order, and the label codes of public sets.

Every label enters the project BY NAME: folder orders and integer codes differ from set to set, and
a swapped pair of classes is invisible in the loss curve.
"""

from enum import IntEnum

from face2exp_lib.errors import Face2ExpError


class Expression(IntEnum):
    """The basic expressions in the order of the paper's RAF-DB list, contempt last.

    With seven classes an image of contempt is left out; the first seven codes do not move.
    """

    NEUTRAL = 0
    HAPPY = 1
    SURPRISE = 2
    SAD = 3
    ANGER = 4
    DISGUST = 5
    FEAR = 6
    CONTEMPT = 7


N, H, SU, SA, A, D, F, C = Expression

ALIASES: dict[str, Expression] = {
    **{expression.name.lower(): expression for expression in Expression},
    "happiness": H,
    "surprised": SU,
    "sadness": SA,
    "angry": A,
    "disgusted": D,
    "fearful": F,
    "afraid": F,
    "contemptuous": C,
}

CODES: dict[str, dict[str, Expression]] = {
    "names": ALIASES,
    # Kaggle 2013 challenge, column `emotion`
    "fer2013": dict(zip("0123456", (A, D, F, H, SA, SU, N), strict=True)),
    # EmoLabel/list_patition_label.txt and the train/1..7 re-pack
    "rafdb": dict(zip("1234567", (SU, F, D, H, SA, A, N), strict=True)),
    # column `expression`; 8 none, 9 uncertain and 10 non-face are no expressions
    "affectnet": dict(zip("01234567", (N, H, SA, SU, F, D, A, C), strict=True)),
}

# What a set's own table marks as showing no basic expression: left out and counted.
LEFT_OUT: dict[str, dict[str, str]] = {
    "affectnet": {"8": "none", "9": "uncertain", "10": "non-face"},
    "names": {name: name for name in ("none", "uncertain", "non-face")},
}


def class_names(num_classes: int) -> tuple[str, ...]:
    """Names of the first `num_classes` expressions (7 without contempt, 8 with it)."""
    return tuple(expression.name.lower() for expression in Expression)[:num_classes]


def parse_label(text: str, codes: str = "names") -> Expression:
    """The expression that `text` stands for under the named code table.

    Args:
        text: a class name (`happy`, `Happiness`) or an integer code as text.
        codes: key of `CODES`.

    Raises:
        Face2ExpError: if the table has no such label.
    """
    table = CODES[codes]
    label = table.get(text.strip().lower())
    if label is None:
        known = ", ".join(table)
        raise Face2ExpError(f"unknown label {text!r}: the code table '{codes}' knows {known}")
    return label


def left_out(text: str, codes: str) -> str | None:
    """What a label means that its set marks as no expression, else None."""
    return LEFT_OUT.get(codes, {}).get(text.strip().lower())
