"""Task streams: what is given and what is written make the whole piece again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strategies
from codec_walks import CODECS, DEFAULTS, ROWS, STEPS, ended, kinds_of, walker, words
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic import config
from jaxmusic._src.codecs.layout import TASKS
from jaxmusic._src.codecs.metrical.grammar import FAR, Rules
from jaxmusic._src.codecs.metrical.task_grammar import hole
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.codecs.tasks import Given, Holes, holes
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.midi_writing import midi_bytes
from jaxmusic._src.music.controls import names
from jaxmusic._src.music.meters import METERS_BY_NAME, bar_length
from jaxmusic._src.music.piece import Piece

CONTROLS = names()
either = pytest.mark.parametrize("walk", [walker("metrical"), walker("fused")])

WRITTEN = TASKS[1:]
CODEC = DEFAULTS["metrical"]


def small_piece():
    """Three bars of 4/4, 3/4, 4/4: a melody, a bass that rings over the line, and drums."""
    meter = [METERS_BY_NAME[4, 4], METERS_BY_NAME[3, 4], METERS_BY_NAME[4, 4]]
    programs = np.full(16, -1, np.int16)
    programs[[0, 1, 15]] = 0, 33, 0
    rows = [(0, 12, 60, 0), (0, 60, 36, 1), (0, 1, 36, 15), (48, 12, 62, 0), (84, 12, 64, 0)]
    rows += [(84, 48, 38, 1), (108, 12, 65, 0)]
    onset, duration, pitch, slot = np.array(rows).T
    return Piece(
        onset=onset.astype(np.int32),
        duration=duration.astype(np.int32),
        pitch=pitch.astype(np.uint8),
        velocity=np.full(len(rows), 4, np.uint8),
        slot=slot.astype(np.uint8),
        programs=programs,
        bar_step=np.cumsum([0, *(bar_length(m, 12) for m in meter)]).astype(np.int32),
        meter=np.array(meter, np.int16),
        tempo=np.full(3, 60, np.int16),
        controls={
            "key": np.zeros(3, np.int16),
            "section": np.array([1, 1, 2], np.int16),
            "chord": np.array([0, 0, 5, 7, 7, 0], np.int16),
            "density": np.array(3, np.int16),
        },
    )


def marks(piece, *bars):
    return np.isin(np.arange(piece.bars), bars)


NONE = np.zeros(16, bool)
MELODY = np.arange(16) == 0


@pytest.mark.quick
def test_golden_infill():
    piece = small_piece()
    infill = Given(1, marks(piece, 1), NONE, chords=False)
    tokens = CODEC.encode(piece, given=infill)
    assert words(CODEC, tokens) == [
        *("bos", "task 1", "key 0", "density 3", "meter 0", "tempo 60"),
        *("program 0", "program 33", "slot 15", "program 0"),
        *("bar 2", "section 1", "chord 0", "slot 0", "pitch 60", "note 92"),
        *("slot 1", "pitch 36", "note 228", "drum 76"),
        *("bar 1", "task 5", "meter 1"),
        *("bar 0", "meter 0", "section 2", "chord 7", "slot 0", "pitch 64", "note 92"),
        *("slot 1", "pitch 38", "note 220", "position 23", "chord 0", "slot 0", "pitch 65"),
        *("note 92", "task 6"),
        *("bar 1", "chord 5", "slot 0", "pitch 62", "note 92", "position 17", "chord 7", "eos"),
    ]
    events = CODEC.events(tokens)
    write = int(np.flatnonzero(tokens == CODEC.write)[0])
    at = [int(e[write]) for e in events[1:]]
    assert at == [0, 144, 0, 16, 128]
    assert events.time[write + 1 :].tolist() == [48, 48, 48, 48, 48, 66, 66, 66]
    assert events.bar[write + 1 :].tolist() == [1] * 8
    hole_at = int(np.flatnonzero(tokens == CODEC.hole)[0])
    assert [int(e[hole_at]) for e in events[1:]] == [48, 0, 1, 16, 128]


@pytest.mark.quick
def test_golden_accompaniment_and_harmony():
    piece = small_piece().part(1, 3)
    everywhere = marks(piece, 0, 1)
    tokens = CODEC.encode(piece, given=Given(2, everywhere, MELODY, chords=True))
    said = words(CODEC, tokens)
    assert said[:3] == ["bos", "task 2", "part"]
    assert said[said.index("task 6") :] == [
        *("task 6", "bar 1", "bar 0", "slot 1", "pitch 38", "note 220", "eos")
    ]
    tokens = CODEC.encode(piece, frozenset({"sections"}), Given(3, everywhere, MELODY, False))
    said = words(CODEC, tokens)
    assert said[said.index("bar 1") :] == [
        *("bar 1", "task 5", "slot 0", "pitch 62", "note 92"),
        *("bar 0", "task 5", "meter 0", "pitch 64", "note 92"),
        *("position 23", "pitch 65", "note 92", "task 6"),
        *("bar 1", "chord 5", "position 17", "chord 7"),
        *("bar 0", "slot 1", "pitch 38", "note 220", "position 23", "chord 0", "eos"),
    ]


@pytest.mark.quick
def test_golden_variation():
    """Runs that stand apart; the slot in force goes on from one to the next."""
    piece = small_piece()
    tokens = CODEC.encode(piece, given=Given(4, marks(piece, 0, 2), NONE, chords=True))
    said = words(CODEC, tokens)
    assert said[said.index("bar 2") :] == [
        *("bar 2", "task 5", "section 1", "chord 0"),
        *("bar 1", "meter 1", "chord 5", "slot 0", "pitch 62", "note 92", "position 17", "chord 7"),
        *("bar 0", "task 5", "meter 0", "section 2", "position 23", "chord 0", "task 6"),
        *("bar 2", "slot 0", "pitch 60", "note 92", "slot 1", "pitch 36", "note 228", "drum 76"),
        *("bar 0", "slot 0", "pitch 64", "note 92", "slot 1", "pitch 38", "note 220"),
        *("position 23", "slot 0", "pitch 65", "note 92", "eos"),
    ]


@pytest.mark.quick
def test_holes():
    piece = small_piece()
    infill = holes(piece, Given(1, marks(piece, 1), NONE, chords=False))
    assert (infill.bars, infill.count, infill.end) == (3, 1, 132)
    assert (infill.line.tolist(), infill.steps.tolist(), infill.left.tolist()) == ([48], [36], [1])
    assert infill.slots == 0b1000000000000011 and infill.chords == 1
    assert infill.ringing.tolist() == [[128 + 36, 0, 60]]
    melody = holes(piece.part(0, 2), Given(2, marks(piece.part(0, 2), 1), MELODY, chords=True))
    assert melody.slots == 0b1000000000000010 and melody.chords == 0 and melody.end == 0
    assert melody.left.tolist() == [1] and melody.bars == 3
    apart = holes(piece, Given(4, marks(piece, 0, 1, 2), NONE, chords=True))
    assert apart.line.tolist() == [0, 48, 84, 0] and apart.count == 3
    assert apart.ringing.tolist() == [[0, 0, 0]]


def test_a_codec_without_bars_has_no_tasks():
    codec = make_codec(config.Codec(kind="performance"))
    piece = strategies.random_performance(1)
    with pytest.raises(UserError, match="bars"):
        codec.encode(piece, given=Given(1, np.ones(piece.bars, bool), NONE, False))


def given_of(seed, piece, task):
    """What is given as the task has it, or with the chords where the task has none, and so on."""
    asked = strategies.random_given(seed, piece, task)
    return dataclasses.replace(asked, chords=not asked.chords) if seed % 5 == 0 else asked


def cases():
    """A codec, a piece (or part of one), and what is given of it."""

    def make(seed, kind, steps, task, count):
        piece = strategies.random_piece(seed, count, 1 + seed % 6, steps)
        rng = np.random.default_rng(seed)
        if rng.random() < 0.5:
            start, stop = np.sort(rng.integers(0, piece.bars + 1, 2)).tolist()
            piece = piece.part(start, max(stop, start + 1)) if start < piece.bars else piece
        return CODECS[kind, steps, 8], piece, given_of(seed, piece, task)

    return st.builds(
        make,
        st.integers(0, 2**32 - 1),
        st.sampled_from(("metrical", "fused")),
        st.sampled_from((12, 24)),
        st.sampled_from(WRITTEN),
        st.integers(0, 80),
    )


@settings(max_examples=400, deadline=None)
@given(cases(), st.sets(st.sampled_from(CONTROLS)))
def test_decode_undoes_encode(case, drop):
    codec, piece, asked = case
    tokens = codec.encode(piece, frozenset(drop), asked)
    assert tokens.dtype == np.int32 and tokens[-1] == codec.vocabulary.start["eos"]
    assert codec.onset_tokens[tokens].sum() == len(piece)
    again, dropped = codec.decode(tokens)
    assert dropped == 0
    assert strategies.differences(strategies.as_decoded(piece, drop), again) == []
    assert "chords" not in drop or not (codec.kind[tokens] == codec.vocabulary.kinds["chord"]).any()


@settings(max_examples=200, deadline=None)
@given(cases())
def test_what_is_given_stands_before_what_is_written(case):
    codec, piece, asked = case
    tokens = codec.encode(piece, given=asked)
    events, v = codec.events(tokens), codec.vocabulary
    write = int(np.flatnonzero(tokens == codec.write)[0])
    onsets = np.flatnonzero(codec.onset_tokens[tokens])
    notes = asked.notes(piece)
    columns = np.stack([piece.onset, piece.slot, piece.pitch])
    for of, here in ((notes, onsets < write), (~notes, onsets > write)):
        places = np.stack([events.time, events.slot, events.pitch])[:, onsets[here]]
        assert np.array_equal(places, columns[:, of])
    bars = np.flatnonzero(v.kind[tokens] == v.kinds["bar"])
    numbers = [*range(piece.bars), *np.flatnonzero(asked.marked)]
    assert events.bar[bars].tolist() == numbers
    assert events.time[bars].tolist() == piece.bar_step[numbers].tolist()
    # Of the plain stream of what is given, the events are the same.
    for ours, theirs in zip(codec.events(tokens[:write]), events):
        assert np.array_equal(ours, theirs[:write])


def mutated(codec, tokens, seed):
    """The stream with some tokens left out, doubled, exchanged, or replaced."""
    rng = np.random.default_rng(seed)
    tokens = tokens.tolist()
    special = [codec.hole, codec.write, *range(codec.hole - 5, codec.write + 2)]
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(0, len(tokens)))
        other = int(rng.integers(0, len(tokens)))
        new = int(rng.choice(special) if rng.random() < 0.4 else rng.integers(0, codec.vocab_size))
        change = rng.integers(4)
        if change == 0 and len(tokens) > 1:
            del tokens[at]
        elif change == 1:
            tokens.insert(at, new)
        elif change == 2:
            tokens[at] = new
        else:
            tokens[at], tokens[other] = tokens[other], tokens[at]
    return np.array(tokens, np.int32)


@settings(max_examples=400, deadline=None)
@given(cases(), st.integers(0, 2**32 - 1))
def test_decode_never_raises(case, seed):
    codec, piece, asked = case
    tokens = mutated(codec, codec.encode(piece, given=asked), seed)
    again, dropped = codec.decode(tokens)
    assert dropped >= 0
    assert (again.onset < again.bar_step[-1]).all() and (again.duration >= 1).all()
    assert (again.programs[again.slot] >= 0).all()
    assert midi_bytes(codec.dequantise(again))
    at = seed % (len(tokens) + 1)
    for whole, start in zip(codec.events(tokens), codec.events(tokens[:at])):
        assert np.array_equal(whole[:at], start)
        assert whole.dtype == np.int32 and len(whole) == len(tokens)


def rows_of(piece, keep):
    names = ("onset", "duration", "pitch", "velocity", "slot")
    return set(zip(*(getattr(piece, name)[keep].tolist() for name in names)))


@settings(max_examples=200, deadline=None)
@given(cases(), st.data())
def test_nothing_that_is_written_touches_what_is_given(case, data):
    codec, piece, asked = case
    tokens = codec.encode(piece, given=asked)
    write = int(np.flatnonzero(tokens == codec.write)[0])
    music = codec.encode(strategies.random_piece(data.draw(st.integers(0, 99)), 60))
    anything = st.lists(st.integers(0, codec.vocab_size - 1), max_size=20)
    junk = [*data.draw(anything), *music, *data.draw(anything)]
    again, _ = codec.decode(np.array([*tokens[: write + 1], *tokens[write + 1 :][:5], *junk]))
    notes = asked.notes(piece)
    assert rows_of(piece, notes) <= rows_of(again, slice(None))
    for name in ("programs", "bar_step", "meter", "tempo", "key", "section"):
        assert np.array_equal(getattr(piece, name), getattr(again, name)), name


@pytest.mark.quick
def test_what_makes_no_sense_is_counted():
    piece = small_piece()
    plain = CODEC.encode(piece).tolist()
    task = CODEC.vocabulary.start["task"]
    for stray in (task, task + 4, CODEC.hole, CODEC.write, task + 7):
        for at in (0, 4, plain.index(CODEC.vocabulary.start["bar"] + 1) + 1, len(plain) - 1):
            again, dropped = CODEC.decode(np.array([*plain[:at], stray, *plain[at:]]))
            assert dropped == 1
            assert strategies.differences(strategies.as_decoded(piece), again) == []
    tokens = CODEC.encode(piece, given=Given(1, marks(piece, 1), NONE, False)).tolist()
    more = [*tokens[:-1], CODEC.vocabulary.start["bar"], *tokens[-8:]]
    again, dropped = CODEC.decode(np.array(more))
    assert dropped == 8
    assert strategies.differences(strategies.as_decoded(piece), again) == []
    labels = [CODEC.vocabulary.start[n] for n in ("meter", "tempo", "key", "section", "program")]
    again, dropped = CODEC.decode(np.array([*tokens[:-1], *labels, tokens[-1]]))
    assert dropped == len(labels)
    assert strategies.differences(strategies.as_decoded(piece), again) == []


def widened(of: Holes, size=64):
    """Holes with arrays of one size."""

    def wide(x):
        return np.pad(x, [(0, size - len(x))] + [(0, 0)] * (x.ndim - 1)) if x.ndim else x

    return jax.tree.map(wide, of)


def tasks_of(codec, first, most):
    """Pieces with streams of at most `most` tokens, and what is given of them, for all rows."""
    out, seed = [], first
    while len(out) < ROWS:
        seed += 1
        piece = strategies.random_piece(seed, 10 + seed % 60, 1 + seed % 5)
        if seed % 3 == 0:
            piece = piece.part(piece.bars // 3, piece.bars)
        if seed % 3 == 1 and piece.bars > 1:
            piece = piece.part(0, piece.bars - 1)
        asked = given_of(seed, piece, WRITTEN[seed % 4])
        sizes = (asked.marked.sum(), len(holes(piece, asked).ringing))
        if max(sizes) <= 64 and len(codec.encode(piece, given=asked)) <= most:
            out.append((piece, asked))
    return out


def stacked(what):
    """What is to be written of each row, with arrays of one size."""
    return jax.tree.map(lambda *x: np.stack(x), *map(widened, what))


@either
@pytest.mark.parametrize("first", (0, 1000))
def test_whatever_is_encoded_is_allowed(walk, first):
    codec, pairs = walk.codec, tasks_of(walk.codec, first, STEPS)
    # A piece's notes may pass its end; composed ones may not.
    what = [holes(*pair)._replace(end=np.int32(0)) for pair in pairs]
    streams = [codec.encode(piece, given=asked) for piece, asked in pairs]
    found = walk.allowed(streams, [one.bars for one in what], stacked(what))
    for tokens, allowed in zip(streams, found):
        written = np.cumsum(tokens == codec.write) - (tokens == codec.write) > 0
        assert words(codec, tokens[written & ~allowed]) == []


@either
@pytest.mark.parametrize("silence", (FAR, 0))
def test_whatever_is_drawn_decodes_and_leaves_alone_what_is_given(walk, silence):
    codec, finished, written = walk.codec, 0, 0
    for turn in range(2):
        pairs = tasks_of(codec, 5000 + 1000 * turn, 250)
        prompts = []
        for piece, asked in pairs:
            tokens = codec.encode(piece, given=asked)
            prompts.append(tokens[: np.flatnonzero(tokens == codec.write)[0] + 1])
        what = [holes(*pair) for pair in pairs]
        rules = Rules(np.array([one.bars for one in what]), silence=silence, tokens=12)
        streams = walk.sample(rules, turn, prompts=prompts, what=stacked(what))
        for stream, prompt, pair, one in zip(streams, prompts, pairs, what):
            if ended(codec, stream):
                finished += 1
                written += check_drawn(codec, stream, len(prompt), *pair, one, silence)
    assert finished > 24 and written > 250


def check_drawn(codec, stream, start, piece, asked, what, silence):
    """What is drawn from `start` on keeps all that was asked; the number of notes drawn."""
    again, dropped = codec.decode(stream)
    assert dropped == 0
    notes = asked.notes(piece)
    drawn = codec.onset_tokens[stream[start:]].sum()
    assert len(again) == notes.sum() + drawn
    given_rows = rows_of(piece, notes)
    assert given_rows <= rows_of(again, slice(None))
    new = np.array(sorted(rows_of(again, slice(None)) - given_rows), int).reshape(-1, 5)
    bar = np.searchsorted(piece.bar_step, new[:, 0], side="right") - 1
    assert asked.marked[bar].all() and not asked.slots[new[:, 4]].any()
    if what.end:
        assert (new[:, 0] + new[:, 1] <= what.end).all()
    may_differ = {"onset", "duration", "pitch", "velocity", "slot", "chord", "bass"}
    assert set(strategies.differences(strategies.as_decoded(piece), again)) <= may_differ
    # Of given chords none is another; one that was unknown may go on from one that is written.
    chords = np.repeat(~asked.marked | asked.chords, 2) & (piece.chord >= 0)
    assert np.array_equal(again.chord[chords], piece.chord[chords])
    kinds = set(kinds_of(codec, stream[start:]))
    music = {"position", "slot", "pitch", "hold", "note", "drum"}
    assert kinds <= {"bar", "chord", "bass", "eos"} | music
    assert not asked.chords or not kinds & {"chord", "bass"}
    if silence == 0 and what.slots:
        assert set(bar) == set(np.flatnonzero(asked.marked))
    return drawn


@either
def test_a_given_note_that_sounds_on_is_not_begun_again(walk):
    """A sustained cluster leaves two pitches of its slot to the bar that is written."""
    codec, piece = walk.codec, small_piece()
    piece = dataclasses.replace(
        piece,
        onset=np.zeros(126, np.int32),
        duration=np.full(126, 60, np.int32),
        pitch=np.setdiff1d(np.arange(128), (60, 72)).astype(np.uint8),
        velocity=np.zeros(126, np.uint8),
        slot=np.ones(126, np.uint8),
    )
    asked = Given(1, marks(piece, 1), MELODY, chords=False)
    assert holes(piece, asked).ringing.shape == (128, 3)
    start = codec.vocabulary.start
    first = start["pitch"] + 128 * codec.fused
    opens = [start["bar"] + 1, *([] if codec.fused else [start["slot"] + 1])]
    goes_on = [first + 60, start["note"], start["position"] + 11]  # the cluster's end

    def free(written):
        return np.flatnonzero(mask_after(walk, piece, asked, written)[first:][:128]).tolist()

    assert free(opens) == [60, 72]
    assert free([*opens, *goes_on]) == list(range(128))


@either
def test_runs_that_stand_apart_have_silences_of_their_own(walk):
    piece, v = small_piece(), walk.codec.vocabulary
    for bars, ends in (((0, 2), True), ((1, 2), False)):
        asked = Given(4, marks(piece, *bars), NONE, chords=False)
        written = [v.start["bar"] + 2 - bar for bar in bars]
        assert mask_after(walk, piece, asked, written, silence=1)[v.start["eos"]] == ends
        # So do chords: the one in force may be stated anew.
        chords = [written[0], v.start["chord"] + 7, written[1]]
        allowed = mask_after(walk, piece, asked, chords)[v.start["chord"] :][:8]
        assert allowed.tolist() == [True] * 7 + [ends]


def mask_after(walk, piece, asked, written, silence=FAR):
    """The mask after some written tokens that follow what is given."""
    codec, grammar = walk.codec, walk.grammar
    what = jax.tree.map(jnp.asarray, holes(piece, asked))
    tokens = codec.encode(piece, given=asked)
    write = int(np.flatnonzero(tokens == codec.write)[0])

    def one(state, token):
        rules = Rules(what.bars, silence=silence, hole=hole(state, what))
        return grammar.advance(state, token, rules), None

    @jax.jit
    def walk(tokens):
        state, _ = jax.lax.scan(one, grammar.begin(), tokens)
        return grammar.mask(state, Rules(what.bars, silence=silence, hole=hole(state, what)))

    return np.asarray(walk(np.array([*tokens[: write + 1], *written], np.int32)))
