"""A finished piece: its JSON, the surprise of its notes, and composing that is cancelled."""

import json

import numpy as np
import pytest

import jaxmusic
from jaxmusic import config
from jaxmusic.codecs.registry import CODECS, make_codec
from jaxmusic.generate.composer import Composer
from jaxmusic.generate.controls import Wishes
from jaxmusic.models import transformer

SHAPE = config.Transformer(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64)


@pytest.fixture(scope="module", params=CODECS)
def composer(request):
    codec = make_codec(config.Codec(kind=request.param))
    return Composer(SHAPE, transformer.init(SHAPE, codec.vocab_size, 0), codec, 256)


def test_each_note_has_the_surprise_of_its_tokens(composer):
    (piece,) = composer.compose(composer.planner(Wishes(20.0)), 2)
    codec = composer.codec
    decoded, _ = codec.decode(piece.tokens)
    rows = codec.note_index(decoded, piece.tokens)
    # Each note is written by one onset token, among others.
    assert sorted(rows[codec.onset_tokens[piece.tokens] & (rows >= 0)]) == list(range(len(decoded)))
    assert len(piece.nats) == len(piece.notes) == len(decoded) > 0
    assert np.array_equal(piece.notes.pitch, decoded.pitch)
    total = piece.bits_per_note * len(decoded) * np.log(2)
    assert 0 < piece.nats.sum() < total
    assert (piece.nats >= 0).all()


def test_a_piece_as_json(composer):
    (piece,) = composer.compose(composer.planner(Wishes(8.0)), 3)
    found = json.loads(piece.to_json())
    assert found["seconds"] == pytest.approx(8.0)
    columns = found["notes"]
    assert {len(column) for column in columns.values()} == {len(piece.notes)}
    assert max(columns["track"]) < len(found["tracks"])
    ends = np.array(columns["onset"]) + np.array(columns["duration"])
    assert ends.max() <= 8.0 + 1e-4
    assert sum(columns["bits"]) == pytest.approx(piece.nats.sum() / np.log(2), rel=1e-3)


def test_a_callback_hears_of_bars_and_stops_the_composing(composer):
    heard = []
    planner = composer.planner(Wishes(30.0))
    (whole,) = composer.compose(planner, 1, progress=lambda *now: heard.append(now))
    made, total = np.array(heard).T
    assert made[-1] == total[-1] and (np.diff(made) >= 0).all()

    def stop(made, total):
        raise jaxmusic.Cancelled

    with pytest.raises(jaxmusic.Cancelled):
        composer.compose(planner, 1, progress=stop)
    (again,) = composer.compose(planner, 1)
    assert np.array_equal(again.tokens, whole.tokens)
