"""Every row of the table of controls is stated, read back, moved, left out and asked for."""

import dataclasses

import numpy as np
import pytest
import strategies

from jaxmusic import config
from jaxmusic._src.codecs.registry import CODECS, make_codec
from jaxmusic._src.evaluate.control import FIGURES
from jaxmusic._src.generate import controls as asking
from jaxmusic._src.music import controls, grid
from jaxmusic._src.music.notes import Labels, make_notes

CODEC = make_codec(config.Codec())
ROWS = [pytest.param(control, id=control.kind) for control in controls.CONTROLS]
ASKED = {
    "styles": ("style", "pop"),
    "key": ("key", "D minor"),
    "density": ("density", 3.0),
    "roles": ("instruments", "flute as melody, piano as chords"),
    "sections": ("form", "intro4 A8"),
    "energy": ("energy", "2 5"),
    "chords": ("chords", "C/E G"),
}
"""Option of `config.Controls` and an example for each control that can be asked for."""
NOT_ASKED = {"plays"}


def test_every_option_of_a_control_is_a_setting_and_every_control_is_asked_for_or_not():
    fields = {field.name for field in dataclasses.fields(config.Controls)}
    assert {option for option, _ in ASKED.values()} <= fields
    assert set(controls.names()) == set(ASKED) | NOT_ASKED
    of_pieces = {"duration", "tempo", "meter", "strict_instruments"}
    of_pieces |= {"guidance", "strict", "ending", "seed"}
    assert fields == {option for option, _ in ASKED.values()} | of_pieces


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_for_is_wanted(name):
    fields = dict([ASKED[name]])
    if name == "energy":
        fields["form"] = "verse4 chorus8"
    wanted = asking.read(config.Controls(**fields), CODEC)
    assert name in wanted.learned
    kinds = {control.kind for control in controls.CONTROLS if control.name == name}
    assert name == "styles" or kinds & wanted.wanted.keys()


@pytest.mark.parametrize("control", ROWS)
def test_ids_have_room(control):
    assert control.kind in CODEC.vocabulary.length
    assert control.values <= control.room == CODEC.vocabulary.length[control.kind]
    assert control.valid().sum() == control.values + (control.none >= 0)


@pytest.mark.parametrize("control", ROWS)
def test_parts_and_transposition_keep_shape(control):
    piece = strategies.random_piece(11, 50)
    part, moved = piece.part(1, piece.bars), piece.transpose(3)
    assert part.controls[control.kind].shape == control.shape(piece.bars - 1)
    same = np.array_equal(moved.controls[control.kind], piece.controls[control.kind])
    assert same or control.transpose
    back = moved.transpose(-3).controls[control.kind]
    assert np.array_equal(back, piece.controls[control.kind])


@pytest.mark.parametrize("name", controls.names())
def test_a_stream_without_a_control_lacks_its_tokens_and_no_others(name):
    piece = strategies.random_piece(11, 50)
    whole, left = CODEC.encode(piece), CODEC.encode(piece, frozenset({name}))
    number, kinds = CODEC.vocabulary.kinds, CODEC.vocabulary.kind
    hidden = [number[kind] for kind in controls.hidden(frozenset({name}))]
    assert not np.isin(kinds[left], hidden).any()
    assert set(left) >= set(whole[~np.isin(kinds[whole], [*hidden, number["position"]])])


def test_figures_are_those_of_controls_that_can_be_asked_for():
    known = {option for option, _ in ASKED.values()}
    assert set(FIGURES) <= known | {"duration", "tempo", "meter"}


@pytest.mark.parametrize("kind", CODECS)
def test_codecs_state_controls_of_the_table_only(kind):
    assert set(make_codec(config.Codec(kind=kind, velocities=8)).CONTROLS) <= set(controls.names())


def test_energy_and_instruments_of_sections():
    """Eight bars of a soft piano, then eight with a loud bass on every eighth as well."""
    bar = 1920
    soft = [(i * bar, bar, 60, 20, 0) for i in range(16)]
    loud = [(8 * bar + i * 240, 200, 36, 120, 1) for i in range(64)]
    labels = Labels.of_changes({"phrase": [(0, 0), (8 * bar, 1)]})
    columns, instruments = zip(*soft, *loud), ((0, 33), (False, False))
    notes = make_notes(*columns, *instruments, end=16 * bar, labels=labels)
    piece, _ = grid.quantise(notes)
    energy, plays = piece.controls["energy"], piece.controls["plays"]
    assert energy.tolist() == [0] * 8 + [energy[8]] * 8 and energy[8] >= 2
    assert plays.tolist() == [1] * 8 + [3] * 8
    assert piece.controls["role"][:2].tolist() == [0, 1]  # melody and bass
    unlabelled, _ = grid.quantise(notes.replace(labels=Labels()))
    assert unlabelled.controls["energy"].max() == -1 == unlabelled.controls["plays"].max()
