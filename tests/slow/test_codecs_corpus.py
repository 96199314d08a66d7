"""Real music of every kind: read, align, quantise, encode, decode; nothing may change."""

import numpy as np
import pytest
import strategies
from codec_walks import check_lossless

from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import files
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.music import beats

SETS = """
    pop909 mutopia piano_midi_de giantmidi groove freedoom nottingham multitrack_pop odd
"""
MOST = 150
"""Files of each set, taken evenly from all of it."""
CODECS = (MetricalCodec(), MetricalCodec(config.Codec(24, 32, "fused")))


def check(codec, piece):
    """Encodes and decodes a piece, and two parts of it."""
    half = piece.bars // 2
    sizes = codec.sizes(piece)
    for a, b in {(0, piece.bars), (half, piece.bars), (half, half + 1)}:
        tokens = check_lossless(codec, piece.part(a, b))
        assert len(tokens) <= sizes[0] + sizes[1 + a : 1 + b].sum()


@pytest.mark.parametrize("name", SETS.split())
def test_files_survive(music, tmp_path, name):
    paths = sorted(p for p in (music / name).rglob("*") if p.suffix.lower() in (".mid", ".midi"))
    if not paths:
        pytest.skip(f"the folder of real music has no {name}")
    paths = paths[:: -(-len(paths) // MOST)]
    read = 0
    for path in paths:
        try:
            notes = read_notes(path)
        except UserError:
            assert name == "odd", f"{path} cannot be read"
            continue
        aligned, _ = beats.align(notes)
        read += 1
        for codec in CODECS:
            settings = codec.config
            piece, losses = codec.quantise(aligned)
            assert len(piece) == len(notes) - losses.drum_pitch - losses.duplicate, path
            try:
                check(codec, piece)
                again = codec.quantise(codec.dequantise(piece))[0]
                assert strategies.differences(piece, again) == []
                files.write(codec.dequantise(piece), tmp_path / "again.mid")
                again = codec.quantise(read_notes(tmp_path / "again.mid"))[0]
                assert strategies.differences(piece, again, ignore=("song",)) == []
                assert np.diff(piece.bar_step).min() >= 1
            except AssertionError as error:
                raise AssertionError(f"{path} at {settings}") from error
    assert read == len(paths) or (name == "odd" and read >= 90)
