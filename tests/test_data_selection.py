"""Selecting pieces: facts, conditions, and what is said where one makes no sense."""

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data.metadata import DRUMS, Metadata, MetadataTable, describe
from jaxmusic._src.data.selection import parse
from jaxmusic._src.music.notes import Labels, make_notes

WALTZ = Metadata(
    tempo=90.0,
    bars=32,
    seconds=64.0,
    notes=300,
    tracks=2,
    density=300 / 64,
    meter=(3, 4),
    key=21,
    programs=frozenset((0, 40)),
    styles=("waltz", "odd one"),
    controls=frozenset({"styles", "key", "chords"}),
)
ROCK = Metadata(
    tempo=140.2,
    bars=80,
    seconds=137.0,
    notes=4000,
    tracks=5,
    density=29.2,
    meter=(4, 4),
    key=0,
    programs=frozenset((29, 33, DRUMS)),
    styles=("rock",),
    controls=frozenset({"styles", "key", "chords", "sections"}),
)
PLAIN = Metadata(
    tempo=120.0,
    bars=8,
    seconds=16.0,
    notes=40,
    tracks=1,
    density=2.5,
    meter=(6, 8),
    key=-1,
    programs=frozenset((105,)),
    styles=(),
    controls=frozenset(),
)
INDEX = MetadataTable.of([WALTZ, ROCK, PLAIN])


def labels(keys):
    ticks, values = zip(*keys)
    return Labels(key_tick=np.array(ticks, np.int32), key=np.array(values, np.uint8))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "WRP"),
        ("style=rock", "R"),
        ("style=waltz,rock", "WR"),
        ("style=ODD-one", "W"),
        ("style!=rock", "WP"),
        ("style!=rock,waltz", "P"),
        ("tempo=90..140", "WP"),
        ("tempo=90..141", "WRP"),
        ("tempo=140", "R"),
        ("tempo=..119.9", "W"),
        ("tempo=120..", "RP"),
        ("bars=80", "R"),
        ("bars=8,32", "WP"),
        ("seconds=60..100", "W"),
        ("notes=..300", "WP"),
        ("tracks!=1", "WR"),
        ("density=3..", "WR"),
        ("meter=3/4,6/8", "WP"),
        ("meter!=4/4", "WP"),
        ("key=Am", "W"),
        ("key=c,am", "WR"),
        ("key=major", "R"),
        ("key=minor", "W"),
        ("key=unknown", "P"),
        ("key!=unknown", "WR"),
        ("has=drums", "R"),
        ("has!=drums", "WP"),
        ("has=guitar,banjo", "RP"),
        ("has=Acoustic-Grand-Piano", "W"),
        ("has=strings has=piano", "W"),
        ("has=strings has=drums", ""),
        ("style=rock,waltz tempo=90..140 has!=drums", "W"),
    ],
)
def test_conditions(text, found):
    where = parse(text)
    assert where.select(INDEX).tolist() == [c in found for c in "WRP"]
    assert [where.matches(f) for f in (WALTZ, ROCK, PLAIN)] == [c in found for c in "WRP"]
    assert parse(where.text).select(INDEX).tolist() == where.select(INDEX).tolist()


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stlye=pop", r"'stlye': choose by style, tempo, bars, .*, has\.$"),
        ("year=1990", "'year': choose by style"),
        ("pop", r"FIELD=VALUES.* not 'pop'\."),
        ("style=", r"not 'style='\."),
        ("tempo=fast", r"such as 90\.\.140, 90\.\. or \.\.140, not 'fast'"),
        ("meter=waltz", "such as 3/4, not 'waltz'"),
        ("key=H", "no key 'h': use C, C#, D"),
        ("has=pianoo", "use drums, piano, .*, sound-effects, or the name of a General MIDI"),
        ("has=slap-bas-1", "program such as slap-bass-1"),
    ],
)
def test_typos_are_answered_with_what_there_is(text, words):
    with pytest.raises(UserError, match=words):
        parse(text)


def test_unknown_styles_are_answered_with_those_there_are():
    parse("style=odd-one,rock").check_styles(["rock", "odd one"])
    with pytest.raises(
        UserError, match=r"No piece has the style 'jazz': there are odd-one, rock\."
    ):
        parse("style!=jazz").check_styles(["rock", "odd one"])


@pytest.mark.quick
def test_facts_of_a_piece():
    notes = make_notes(
        *([0, 480, 960, 3840], [480] * 4, [60, 62, 36, 64], [90] * 4, [0, 0, 1, 3]),
        program=[0, 0, 50, 33],
        drum=[False, True, False, False],
        # Two bars of 3/4 and two of 4/4; 60 quarters per minute for 6 beats, 120 for 8.
        tempos=((0, 60.0), (6 * 480, 120.0)),
        meters=((0, 3, 4), (6 * 480, 4, 4)),
        end=14 * 480,
        labels=labels([(0, 5), (480, 21), (8 * 480, 7)]),
    )
    found = describe(notes)
    assert found.seconds == pytest.approx(10.0)
    assert found.tempo == pytest.approx(84.0)
    assert (found.bars, found.notes, found.tracks) == (4, 4, 3)
    assert found.density == pytest.approx(0.4)
    assert found.meter == (4, 4) and found.key == 21
    assert found.programs == {0, DRUMS, 33}


@settings(max_examples=60, deadline=None)
@given(st.lists(strategies.notes(), min_size=1, max_size=6))
def test_an_index_holds_the_facts_of_each_piece(pieces):
    found = [describe(notes) for notes in pieces]
    index = MetadataTable.of(found)
    for i, f in enumerate(found):
        for name in ("tempo", "bars", "seconds", "notes", "tracks", "density"):
            assert index.column(name)[i] == getattr(f, name)
        assert {p for p in range(DRUMS + 1) if index.plays(p)[i]} == f.programs
        assert set(index.names[index.style[i]]) == set(f.styles)
        assert f.key == index.key[i] and f.seconds > 0 and f.bars >= 1
