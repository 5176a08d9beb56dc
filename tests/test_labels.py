"""Code tables against the lists that the sets' makers publish."""

import pytest

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.labels import CODES, Expression, class_names, parse_label

# Kaggle, "Challenges in Representation Learning: Facial Expression Recognition Challenge", 2013.
FER2013 = "0=Angry, 1=Disgust, 2=Fear, 3=Happy, 4=Sad, 5=Surprise, 6=Neutral"
# RAF-DB, readme of the single-label subset.
RAFDB = "1=Surprise, 2=Fear, 3=Disgust, 4=Happiness, 5=Sadness, 6=Anger, 7=Neutral"
# AffectNet, readme; 8=None, 9=Uncertain, 10=No-Face are no expressions.
AFFECTNET = "0=Neutral, 1=Happy, 2=Sad, 3=Surprise, 4=Fear, 5=Disgust, 6=Anger, 7=Contempt"


@pytest.mark.parametrize(
    ("codes", "published"), [("fer2013", FER2013), ("rafdb", RAFDB), ("affectnet", AFFECTNET)]
)
def test_codes_are_the_published_ones(codes: str, published: str) -> None:
    table = dict(entry.split("=") for entry in published.split(", "))
    assert CODES[codes].keys() == table.keys()
    for code, name in table.items():
        assert parse_label(code, codes) == parse_label(name), (code, name)


def test_class_order_has_contempt_last_and_seven_without_it() -> None:
    seven = ("neutral", "happy", "surprise", "sad", "anger", "disgust", "fear")
    assert class_names(7) == seven
    assert class_names(8) == (*seven, "contempt")
    assert [Expression[name.upper()].value for name in class_names(8)] == list(range(8))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("angry", Expression.ANGER),
        ("Happiness", Expression.HAPPY),
        (" FEARFUL\n", Expression.FEAR),
        ("surprised", Expression.SURPRISE),
        ("sadness", Expression.SAD),
        ("disgusted", Expression.DISGUST),
    ],
)
def test_names_are_read_in_their_common_forms(text: str, expected: Expression) -> None:
    assert parse_label(text) is expected


@pytest.mark.parametrize(
    ("text", "codes"), [("smug", "names"), ("", "names"), ("0", "rafdb"), ("8", "affectnet")]
)
def test_unknown_label_is_named_with_its_table(text: str, codes: str) -> None:
    with pytest.raises(Face2ExpError, match=f"unknown label '{text}': the code table '{codes}'"):
        parse_label(text, codes)


def test_a_code_means_another_expression_in_each_set() -> None:
    """Why a label never enters as a bare number."""
    assert {codes: parse_label("3", codes).name for codes in ("fer2013", "rafdb", "affectnet")} == {
        "fer2013": "HAPPY",
        "rafdb": "DISGUST",
        "affectnet": "SURPRISE",
    }
