"""What holds for every composed piece, whatever the model says."""

import numpy as np
import pytest

from jaxmusic._src.codecs.layout import bars_left_index
from jaxmusic._src.generate.planning import SILENT_BARS
from jaxmusic._src.music import meters
from jaxmusic._src.music.notes import CHORD_TONES, NO_CHORD
from jaxmusic._src.music.piece import DRUM_SLOT


def check(made, planner):
    """Checks a piece of the metrical or fused codec against what was asked; returns it decoded."""
    codec, request, stream, notes = planner.codec, planner.request, made.tokens, made.notes
    kinds, start = codec.vocabulary.kinds, codec.vocabulary.start
    piece, dropped = codec.decode(stream)
    assert dropped == 0 and len(notes) == codec.onset_tokens[stream].sum() == len(piece) > 0
    assert np.flatnonzero(stream == start["eos"]).tolist() == [len(stream) - 1]
    assert start["part"] not in stream
    _check_length(made, planner, piece)
    left = codec.vocabulary.value[stream[codec.vocabulary.kind[stream] == kinds["bar"]]]
    assert np.array_equal(left, bars_left_index(np.arange(piece.bars - 1, -1, -1)))
    assert (notes.onset >= 0).all() and (notes.duration >= 1).all()
    assert (notes.onset.astype(np.int64) + notes.duration <= notes.end).all()
    holds = np.bincount(piece.bar_of, minlength=piece.bars)
    assert holds[0] and holds[-1]
    silent = "".join("x" if n else "." for n in holds).split("x")
    assert max(map(len, silent)) <= SILENT_BARS
    _check_controls(piece, request)
    # Each instrument sounds, at the latest where the second half begins.
    declared = np.flatnonzero(piece.programs >= 0)
    half = piece.bar_step[piece.bars // 2]
    assert set(piece.slot[piece.onset <= half]) == set(declared.tolist())
    if request.ending:
        whole = meters.bar_length(int(piece.meter[0]), 12)
        _check_close(piece, bool(request.chords), whole // 2, notes.end // 40)
    return piece


def _check_length(made, planner, piece):
    notes, request = made.notes, planner.request
    meter, tempo = int(piece.meter[0]), int(piece.tempo[0])
    bars, last, _, allowed = (table[meter, tempo] for table in planner.lengths)
    assert allowed and made.bars == piece.bars == bars
    assert (piece.meter == meter).all() and (piece.tempo == tempo).all()
    assert len(notes.tempo_qpm) == len(notes.meter_tick) == 1
    whole = meters.bar_length(meter, 12)
    steps = (bars - 1) * whole + (last or whole)
    assert notes.end == steps * 40
    if request.seconds is not None:
        assert notes.seconds(notes.end) == pytest.approx(request.seconds, abs=1e-6)
        # Played at the tempo that the model chose, except for what makes it fit.
        assert notes.tempo_qpm[0] == pytest.approx(steps / 12 * 60 / request.seconds)
    if request.bars:
        assert piece.bars == request.bars and last == 0
    if request.tempo:
        assert notes.tempo_qpm[0] == pytest.approx(request.tempo, rel=0.01)
        if request.seconds is None:
            assert notes.tempo_qpm[0] == request.tempo
    if request.meter >= 0:
        assert meter == request.meter
    if request.chords:
        loop = np.resize(request.chords, 2 * bars)
        cut = bool(last) and last <= whole // 2
        assert piece.chord[: 2 * bars - cut].tolist() == loop[: 2 * bars - cut].tolist()


def _check_controls(piece, request):
    if request.key >= 0:
        assert (piece.key == request.key).all()
    if request.density >= 0:
        assert piece.density == request.density
    if request.styles:
        assert set(piece.styles) == set(request.styles)
    for kind in ("section", "phrase", "energy", "role"):
        wanted = np.array(request.wanted.get(kind, ()), int)
        assert (piece.controls[kind][: len(wanted)] == wanted)[wanted >= 0].all(), kind
    band, pitched = request.band, piece.programs[:DRUM_SLOT]
    if band.slots is not None:
        assert all(int(p) in programs for p, programs in zip(pitched, band.slots))
        assert (pitched >= 0).sum() == len(band.slots)
    if band.drums is not None:
        assert (piece.programs[DRUM_SLOT] >= 0) == band.drums
    assert not band.without & set(pitched.tolist())


def half_of(piece, onset):
    """Number of the half bar of an onset."""
    bar = np.searchsorted(piece.bar_step, onset, side="right") - 1
    return 2 * bar + (onset - piece.bar_step[bar] >= np.diff(piece.bar_step)[bar] // 2)


def _check_close(piece, asked_chords, half, end):
    """The last bar ends with a chord that is held, that of the tonic where it is known."""
    line = int(piece.bar_step[-2])
    last = piece.onset.max()
    assert last in (line, line + half if half < end - line else line)
    there = piece.pitched & (piece.onset == last)
    assert there.any() == (piece.programs[:DRUM_SLOT] >= 0).any()
    assert (piece.onset[there] + piece.duration[there] == end).all()
    key, chord = int(piece.key[-1]), int(piece.chord[-1])
    if asked_chords:
        key = int(piece.chord[half_of(piece, last)])
    elif key >= 0 and chord >= 0:
        assert chord in (key, key + 36)  # with a seventh or without
    if key >= 0 and key != NO_CHORD and there.any():
        assert piece.pitch[there].min() % 12 == key % 12
        assert set((piece.pitch[there].astype(int) - key) % 12) <= set(CHORD_TONES[key // 12])
