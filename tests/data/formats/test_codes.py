"""Which code table a set's labels follow, where nobody says it."""

import pytest

from face2exp_lib.data.formats.codes import TABLES, choose_codes
from face2exp_lib.data.formats.published import (
    AFFECTNET_TRAIN,
    AFFECTNET_VAL,
    EVERY,
    EXPW_ALL,
    FER2013_TRAIN,
    RAFDB_TEST,
    RAFDB_TRAIN,
    Published,
)
from face2exp_lib.data.sets.labels import CODES, UNUSUAL
from face2exp_lib.runtime.errors import Face2ExpError

EXCHANGED = {"anger": "disgust", "disgust": "anger"}
SKEWED = [p for p in EVERY if p is not AFFECTNET_VAL]


def numbered(
    published: Published, codes: str, scale: float = 1, order: dict[str, str] | None = None
) -> dict[str, int]:
    """Number -> images, as somebody would have it who numbers a published part by some table."""
    number_of = {label.name.lower(): number for number, label in CODES[codes].items()}
    return {
        number_of[(order or {}).get(name, name)]: round(count * scale)
        for name, count in published.counts.items()
        if name in number_of
    }


@pytest.mark.parametrize("codes", TABLES)
@pytest.mark.parametrize("published", SKEWED, ids=lambda published: published.title)
def test_published_counts_tell_every_table(published: Published, codes: str) -> None:
    chosen = choose_codes(numbered(published, codes), "names", "x")
    assert chosen.codes == codes
    assert f"read by the codes '{codes}'" in chosen.note


@pytest.mark.parametrize("codes", TABLES)
def test_counts_of_hundreds_are_enough(codes: str) -> None:
    """The shares of RAF-DB train, of 613 images."""
    counts = numbered(RAFDB_TRAIN, codes, 1 / 20)
    assert choose_codes(counts, "names", "x").codes == codes


def test_names_speak_for_themselves() -> None:
    assert choose_codes({"happy": 3, "Sadness": 2, "none": 1}, "names", "x") == ("names", "")
    assert choose_codes({"happy": 3}, "rafdb", "x") == ("rafdb", "")  # which knows names, too


@pytest.mark.parametrize(
    "counts",
    [
        dict.fromkeys("0123456", 30),
        dict.fromkeys("01234567", 500),  # as many of each: AffectNet's val, or anything
        {"1": 5, "2": 3, "7": 1},
        {"0": 9},
        {"3.0": 100, "6.0": 1},
    ],
)
def test_where_nothing_decides_somebody_is_asked(counts: dict[str, int]) -> None:
    with pytest.raises(
        Face2ExpError, match=r"^mine/x\.csv: its labels .* may be those of "
    ) as told:
        choose_codes(counts, "names", "mine/x.csv")
    assert "--codes NAME" in str(told.value)
    assert "{0: anger, ...}" in str(told.value)


def test_the_question_names_tables_by_their_first_number() -> None:
    with pytest.raises(Face2ExpError) as told:
        choose_codes(dict.fromkeys("01234567", 5), "names", "x")
    text = str(told.value)
    assert "'affectnet' (0 is neutral), 'ferplus' (0 is neutral)" in text
    assert "'alphabetical_8' (0 is anger)" in text
    assert "fer2013" not in text  # it has no 7


def test_exchanged_classes_are_a_question_where_another_table_is_nearly_as_likely() -> None:
    """AffectNet with anger and disgust exchanged is near FERPlus' order."""
    counts = numbered(AFFECTNET_TRAIN, "affectnet", 1 / 500, EXCHANGED)
    with pytest.raises(Face2ExpError, match="do not tell which"):
        choose_codes(counts, "names", "x")


def test_only_rafdb_numbers_its_seven_from_one() -> None:
    even = dict.fromkeys("1234567", 4)
    chosen = choose_codes(even, "names", "x")
    assert chosen.codes == "rafdb"
    assert "the one known table that numbers so" in chosen.note
    # Unless the counts speak for somebody who counts FER2013 from 1.
    counts = numbered(FER2013_TRAIN, "fer2013_from_1")
    assert choose_codes(counts, "names", "x").codes in UNUSUAL


def test_a_layout_that_one_set_alone_has_speaks_for_its_codes() -> None:
    assert choose_codes(dict.fromkeys("1234567", 4), "rafdb", "x") == ("rafdb", "")
    assert choose_codes(dict.fromkeys("123", 4), "rafdb", "x") == ("rafdb", "")
    mistaken = {**dict.fromkeys("1234567", 5), "8": 1}  # a bad row, not another numbering
    assert choose_codes(mistaken, "rafdb", "x") == ("rafdb", "")


def test_its_codes_less_one_are_seen_in_its_own_layout() -> None:
    counts = numbered(RAFDB_TEST, "rafdb_from_0")
    chosen = choose_codes(counts, "rafdb", "x")
    assert chosen.codes == "rafdb_from_0"
    assert "RAF-DB test" in chosen.note
    with pytest.raises(Face2ExpError, match="do not tell which"):
        choose_codes(dict.fromkeys("0123456", 4), "rafdb", "x")


def test_few_mistakes_in_a_long_list_change_nothing() -> None:
    counts = {**numbered(EXPW_ALL, "fer2013"), "77": 20}
    assert choose_codes(counts, "names", "x").codes == "fer2013"


def test_numbers_that_no_table_has_are_left_to_the_reader_to_name() -> None:
    assert choose_codes({"11": 5, "12": 7}, "names", "x").note == ""
