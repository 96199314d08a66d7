"""The order of bars: repeats, endings and jumps stay inside of their movement."""

import pytest

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.scores.playing import MOST_BARS, Signs, movements, play_order

VERSES = Signs(verses=True)
PLAIN, AGAIN, FINAL, FINE = Signs(), Signs(backward=2), Signs(final=True), Signs(fine=True)
DA_CAPO, FORWARD, DOUBLE = Signs(jump=""), Signs(forward=True), Signs(double=True)
NUMBERED, HEADING = Signs(numbered=True), Signs(heading=True)
SEGNO, DAL_SEGNO = Signs(segno="s"), Signs(jump="s")
LEAVE, CODA = Signs(to_coda="c"), Signs(coda="c")
DA_CAPO_DOUBLE = Signs(jump="", double=True)
FINE_FINAL, DA_CAPO_FINAL = Signs(fine=True, final=True), Signs(jump="", final=True)


def ending(number: int, **signs: object) -> Signs:
    return Signs(ending=frozenset([number]), opens=True, **signs)


@pytest.mark.parametrize(
    ("signs", "order"),
    [
        pytest.param([Signs(backward=4), PLAIN], "0 0 0 0 1", id="four times"),
        pytest.param([PLAIN, FINAL, AGAIN], "0 1 2 2", id="final bar line"),
        pytest.param([PLAIN, PLAIN, NUMBERED, AGAIN], "0 1 2 3 2 3", id="new numbering"),
        pytest.param([PLAIN, DOUBLE, HEADING, AGAIN], "0 1 2 3 2 3", id="new title or tempo"),
        pytest.param([PLAIN, PLAIN, HEADING, AGAIN], "0 1 2 3 0 1 2 3", id="no double line"),
        pytest.param([PLAIN, DOUBLE, PLAIN, AGAIN], "0 1 2 3 0 1 2 3", id="no title"),
        pytest.param([FINE, DA_CAPO, PLAIN], "0 1 0", id="da capo al Fine"),
        pytest.param([FINE, DA_CAPO_DOUBLE, PLAIN], "0 1 0 2", id="what follows it"),
        pytest.param(
            [PLAIN, FINAL, PLAIN, FINE_FINAL, PLAIN, DA_CAPO_FINAL, PLAIN, PLAIN],
            "0 1 2 3 4 5 2 3 6 7",
            id="da capo in a movement",
        ),
        pytest.param(
            [FINE, DA_CAPO, NUMBERED, FINE, DA_CAPO, NUMBERED], "0 1 0 2 3 4 2 3 5", id="each"
        ),
        pytest.param([NUMBERED, DA_CAPO], "0 1 0 1", id="first movement"),
        pytest.param([PLAIN, FINAL, NUMBERED, DA_CAPO], "0 1 2 3 2 3", id="da capo without Fine"),
        pytest.param([FORWARD, DOUBLE, HEADING, AGAIN], "0 1 2 3 0 1 2 3", id="open repeat"),
        pytest.param([VERSES, DOUBLE, HEADING, AGAIN], "0 1 2 3 0 1 2 3", id="verses of a song"),
        pytest.param([FORWARD, FINAL, PLAIN, AGAIN], "0 1 2 3 2 3", id="repeat that is left open"),
        pytest.param(
            [SEGNO, FINE_FINAL, PLAIN, FINAL, DAL_SEGNO], "0 1 2 3 4 0 1", id="segno further back"
        ),
        pytest.param([PLAIN, FINAL, PLAIN, DA_CAPO], "0 1 2 3 0 1 2 3", id="trio"),
        pytest.param([PLAIN, FINE, NUMBERED, DA_CAPO], "0 1 2 3 0 1", id="trio with its numbers"),
        pytest.param(
            [SEGNO, LEAVE, Signs(jump="s", final=True), CODA], "0 1 2 0 1 3", id="coda at the end"
        ),
        pytest.param([SEGNO, FINAL, DAL_SEGNO, PLAIN], "0 1 2 0 1 2 3", id="segno before the line"),
        pytest.param([PLAIN, ending(1, final=True, backward=2), ending(2)], "0 1 0 2", id="ending"),
        pytest.param(
            [PLAIN, ending(1, backward=2), ending(2, forward=True), AGAIN],
            "0 1 0 2 3 2 3",
            id="repeat from an ending",
        ),
        pytest.param([PLAIN, ending(1), DA_CAPO, ending(2)], "0 1 2 0 3", id="short bracket"),
    ],
)
def test_order(signs, order):
    assert " ".join(map(str, play_order(signs))) == order


def test_movements_begin_where_they_should():
    assert movements([PLAIN] * 3) == [0]
    assert movements([FINAL, PLAIN, NUMBERED, DOUBLE, HEADING]) == [0, 1, 2, 4]


def test_all_movements_together_have_a_limit():
    long = Signs(backward=MOST_BARS // 2, final=True)
    assert len(play_order([long, long])) == MOST_BARS
    with pytest.raises(UserError, match="repeats"):
        play_order([long, long, long])
