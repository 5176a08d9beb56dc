"""Code tables against the lists that the sets' makers publish."""

import pytest

from face2exp_lib.data.sets.labels import (
    CODES,
    Expression,
    class_names,
    left_out,
    own_codes,
    parse_label,
    plain_label,
)
from face2exp_lib.runtime.errors import Face2ExpError

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


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("0", "0"),
        (" 3 ", "3"),
        ("3.0", "3"),
        ("6.000", "6"),
        ("04", "4"),
        ("10", "10"),
        ("3.5", "3.5"),
        ("-1", "-1"),
        ("Happy ", "happy"),
        ("3_Happy", "happy"),
        ("01 - anger", "anger"),
        ("8-none", "none"),
        ("3_smile", "3_smile"),
        ("2024_happy", "2024_happy"),
        ("Zoe\u0308", "zo\u00eb"),
    ],
)
def test_labels_in_plain_form(text: str, plain: str) -> None:
    assert plain_label(text) == plain


def test_a_number_that_a_table_made_a_float_is_that_number_and_no_other() -> None:
    assert parse_label("3.0", "fer2013") is Expression.HAPPY
    for text in ("3.5", "3.0.0", "3e0", "٣"):
        with pytest.raises(Face2ExpError, match="unknown label"):
            parse_label(text, "fer2013")


@pytest.mark.parametrize("codes", CODES)
def test_class_names_mean_themselves_whatever_the_table(codes: str) -> None:
    assert parse_label("Happiness", codes) is Expression.HAPPY
    assert left_out("uncertain", codes) == "uncertain"


def test_a_mapping_of_ones_own() -> None:
    codes = own_codes({0: "Anger", "1": "happiness", 2.0: "none", "froh": "happy"})
    assert codes == {"0": "anger", "1": "happy", "2": "none", "froh": "happy"}
    assert parse_label("0.0", codes) is Expression.ANGER
    assert parse_label("Froh", codes) is Expression.HAPPY
    assert parse_label("sad", codes) is Expression.SAD
    assert left_out("2", codes) == "none"
    with pytest.raises(
        Face2ExpError, match="unknown label '3': the code table 'your own' knows 0, 1"
    ):
        parse_label("3", codes)


def test_a_mapping_may_give_a_name_another_meaning() -> None:
    """Somebody's folder `fear` that holds surprise."""
    assert parse_label("fear", own_codes({"fear": "surprise"})) is Expression.SURPRISE


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "the mapping is empty"),
        ({0: "furious"}, "'0: furious' means no expression: take neutral, happy"),
        ({0: "anger", "0.0": "sad"}, "the label '0' is there twice"),
        ({False: "anger"}, "YAML takes .* for a truth value: put it in quotes"),
    ],
)
def test_mappings_that_mean_nothing(mapping: dict[object, object], message: str) -> None:
    with pytest.raises(Face2ExpError, match=message):
        own_codes(mapping)


# Orders that are easily taken for one another, by hand from their makers' lists.
@pytest.mark.parametrize(
    ("codes", "names"),
    [
        ("rafdb_from_0", "surprise fear disgust happy sad anger neutral"),
        ("ferplus", "neutral happy surprise sad anger disgust fear contempt"),
        ("ckplus", "neutral anger contempt disgust fear happy sad surprise"),
        ("alphabetical", "anger disgust fear happy neutral sad surprise"),
        ("alphabetical_8", "anger contempt disgust fear happy neutral sad surprise"),
    ],
)
def test_orders_from_zero(codes: str, names: str) -> None:
    assert [CODES[codes][str(n)].name.lower() for n in range(len(CODES[codes]))] == names.split()
    if codes.startswith("alphabetical"):
        assert names.split() == sorted(names.split())
