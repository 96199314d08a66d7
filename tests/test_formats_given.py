"""A piece is taken from whatever people have it in."""

import numpy as np
import pretty_midi
import pytest
import symusic

from jaxmusic import UserError
from jaxmusic._src.formats import files, midi
from jaxmusic._src.generate.composition import Composition
from jaxmusic._src.music.notes import make_notes

PIECE = make_notes(
    onset=[0, 480, 960, 960],
    duration=[480, 240, 480, 960],
    pitch=[60, 64, 67, 36],
    velocity=[80, 70, 60, 100],
    track=[0, 0, 0, 1],
    program=[4, 0],
    drum=[False, True],
)


def as_file(tmp_path):
    files.write(PIECE, tmp_path / "piece.mid")
    return tmp_path / "piece.mid"


HELD = {
    "path": as_file,
    "text": lambda tmp_path: str(as_file(tmp_path)),
    "notes": lambda _: PIECE,
    "composition": lambda _: Composition(PIECE, np.zeros(1, np.int32), bars=1),
    "NoteSequence": lambda tmp_path: files.read(as_file(tmp_path)),
    "symusic in ticks": lambda tmp_path: symusic.Score(as_file(tmp_path)),
    "symusic in seconds": lambda tmp_path: symusic.Score(as_file(tmp_path)).to("second"),
    "pretty_midi": lambda tmp_path: pretty_midi.PrettyMIDI(str(as_file(tmp_path))),
}


@pytest.mark.parametrize("kind", HELD)
def test_all_kinds_hold_the_same_piece(kind, tmp_path):
    read = files.notes_of(HELD[kind](tmp_path))
    onsets = read.seconds(read.onset)
    np.testing.assert_allclose(onsets, PIECE.seconds(PIECE.onset), atol=2e-3)
    assert sorted(zip(onsets.round(2), read.pitch, read.velocity, read.is_drum)) == sorted(
        zip(PIECE.seconds(PIECE.onset).round(2), PIECE.pitch, PIECE.velocity, PIECE.is_drum)
    )
    assert read.program[read.track[read.pitch == 64]].tolist() == [4]
    files.write(HELD[kind](tmp_path), tmp_path / "again.mid")
    assert len(midi.read_notes(tmp_path / "again.mid")) == len(PIECE)


@pytest.mark.parametrize("wrong", [None, 3, b"MThd", ["song.mid"], symusic.Track(), {"notes": []}])
def test_anything_else_is_refused_in_a_sentence(wrong, tmp_path):
    with pytest.raises(UserError, match="Give the path of a file") as error:
        files.notes_of(wrong)
    assert "\n" not in str(error.value)
