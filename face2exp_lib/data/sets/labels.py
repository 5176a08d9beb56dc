"""Expression names, the project's one class order, and the label codes of public sets.

Every label enters the project BY NAME: folder orders and integer codes differ from set to set, and
a swapped pair of classes is invisible in the loss curve.
"""

import re
import unicodedata
from collections.abc import Mapping
from enum import IntEnum
from typing import TypeAlias

from face2exp_lib.runtime.errors import Face2ExpError


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

# What a config or a command says about a set's labels: the key of `CODES`, or a mapping of one's
# own, label -> class name or one of `NO_EXPRESSION`.
Codes: TypeAlias = str | Mapping[str, str]

CODES: dict[str, dict[str, Expression]] = {
    "names": ALIASES,
    # Kaggle 2013 challenge, column `emotion`; ExpW
    "fer2013": dict(zip("0123456", (A, D, F, H, SA, SU, N), strict=True)),
    # EmoLabel/list_patition_label.txt and the train/1..7 re-pack
    "rafdb": dict(zip("1234567", (SU, F, D, H, SA, A, N), strict=True)),
    # the same less one, as training code counts from 0
    "rafdb_from_0": dict(zip("0123456", (SU, F, D, H, SA, A, N), strict=True)),
    # column `expression`; 8 none, 9 uncertain and 10 non-face are no expressions
    "affectnet": dict(zip("01234567", (N, H, SA, SU, F, D, A, C), strict=True)),
    # the order of the votes' columns
    "ferplus": dict(zip("01234567", (N, H, SU, SA, A, D, F, C), strict=True)),
    "ckplus": dict(zip("01234567", (N, A, C, D, F, H, SA, SU), strict=True)),
    # folders of seven and of eight classes as torchvision's ImageFolder and Keras count them
    "alphabetical": dict(zip("0123456", (A, D, F, H, N, SA, SU), strict=True)),
    "alphabetical_8": dict(zip("01234567", (A, C, D, F, H, N, SA, SU), strict=True)),
    # the same two counted from 1
    "fer2013_from_1": dict(zip("1234567", (A, D, F, H, SA, SU, N), strict=True)),
    "alphabetical_from_1": dict(zip("1234567", (A, D, F, H, N, SA, SU), strict=True)),
}
# Counted from 1 by somebody, not by a set's makers: believed where the counts speak for it alone.
UNUSUAL = frozenset({"fer2013_from_1", "alphabetical_from_1"})

NO_EXPRESSION = frozenset({"none", "uncertain", "non-face"})
# What a set's own table marks as showing no basic expression: left out and counted.
LEFT_OUT: dict[str, dict[str, str]] = {
    "affectnet": {"8": "none", "9": "uncertain", "10": "non-face"},
    "names": {name: name for name in sorted(NO_EXPRESSION)},
}


def class_names(num_classes: int) -> tuple[str, ...]:
    """Names of the first `num_classes` expressions (7 without contempt, 8 with it)."""
    return tuple(expression.name.lower() for expression in Expression)[:num_classes]


def plain_label(text: str) -> str:
    """A label as tables know it: in lower case without blanks round it, whole numbers as such.

    `0.0`, which pandas makes of a column with a gap, and `00` are `0`; of `3_happy`, as folders are
    called so that they are sorted, the name counts.
    """
    plain = unicodedata.normalize("NFC", text).strip().lower()
    number = re.fullmatch(r"0*([0-9]{1,9})(\.0*)?", plain)
    if number:
        return number[1]
    named = re.fullmatch(r"[0-9]{1,2}[ _.-]+(.+)", plain)
    return named[1] if named and (named[1] in ALIASES or named[1] in NO_EXPRESSION) else plain


def own_codes(mapping: Mapping[object, object]) -> dict[str, str]:
    """A mapping of somebody's own, label -> class name, checked and in plain form.

    Args:
        mapping: such as {0: "anger", 1: "happy", 2: "none"}; several labels may mean one class.

    Raises:
        Face2ExpError: naming the entry that means no expression, or the label that is there twice.
    """
    if not mapping:
        raise Face2ExpError("codes: the mapping is empty: write lines like `0: anger`")
    table: dict[str, str] = {}
    for key, value in mapping.items():
        if isinstance(key, bool):
            raise Face2ExpError(
                f"codes: YAML takes the label before '{value}' for a truth value: put it in quotes"
            )
        label, name = plain_label(str(key)), plain_label(str(value))
        if name not in ALIASES and name not in NO_EXPRESSION:
            raise Face2ExpError(
                f"codes: '{label}: {value}' means no expression: take {', '.join(class_names(8))}, "
                f"or {', '.join(sorted(NO_EXPRESSION))} for what is to be left out"
            )
        if label in table:
            raise Face2ExpError(f"codes: the label '{label}' is there twice: delete one line")
        table[label] = name if name in NO_EXPRESSION else ALIASES[name].name.lower()
    return table


def parse_label(text: str, codes: Codes = "names") -> Expression:
    """The expression that `text` stands for under a code table.

    Class names are understood whatever the table: they mean themselves.

    Args:
        text: a class name (`happy`, `Happiness`) or an integer code as text.
        codes: key of `CODES`, or a mapping of one's own, see `own_codes`.

    Raises:
        Face2ExpError: if the table has no such label.
    """
    plain = plain_label(text)
    table = CODES[codes] if isinstance(codes, str) else codes
    found = table.get(plain, plain)
    label = ALIASES.get(found) if isinstance(found, str) else found
    if label is None:
        raise Face2ExpError(
            f"unknown label {text!r}: the code table '{codes_name(codes)}' knows {', '.join(table)}"
        )
    return label


def left_out(text: str, codes: Codes) -> str | None:
    """What a label means that its set marks as no expression, else None."""
    plain = plain_label(text)
    table = LEFT_OUT.get(codes, {}) if isinstance(codes, str) else codes
    meaning = table.get(plain, plain)
    return meaning if meaning in NO_EXPRESSION else None


def codes_name(codes: Codes) -> str:
    """What people call a code table."""
    return codes if isinstance(codes, str) else "your own"
