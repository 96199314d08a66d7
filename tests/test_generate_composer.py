"""Composing with an untrained model: length, grammar and seeds hold whatever it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmusic import config
from jaxmusic.codecs.layout import BARS_LEFT, bars_left_index
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.core.errors import UserError
from jaxmusic.formats.midi import write_midi
from jaxmusic.generate import decoding
from jaxmusic.generate.composer import Composer
from jaxmusic.generate.controls import Wishes
from jaxmusic.generate.length import check_duration, whole_bars
from jaxmusic.generate.planning import SILENT_BARS
from jaxmusic.generate.sampler import CHUNK
from jaxmusic.models import transformer
from jaxmusic.music import meters

CODEC = MetricalCodec()
CONTEXT = 256
LONG = 900.0


@pytest.fixture(scope="module")
def composer():
    shape = config.Transformer(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64)
    params = transformer.init(shape, CODEC.vocab_size, 0)
    return Composer(shape, params, CODEC, CONTEXT)


@pytest.fixture(scope="module")
def long_piece(composer):
    """A piece of several contexts, and what was reported while it was made."""
    seen = []
    (piece,) = compose(composer, LONG, ("pop", "jazz"), 5, progress=lambda *p: seen.append(p))
    return piece, seen


def compose(composer, duration, styles=(), seed=0, **options):
    planner = composer.planner(Wishes(check_duration(duration), styles))
    return composer.compose(planner, seed, **options)


def check(piece, duration):
    """What holds for each composition."""
    notes, tokens = piece.notes, piece.tokens
    decoded, dropped = CODEC.decode(tokens)
    kinds, values = CODEC.vocabulary.kind[tokens], CODEC.vocabulary.value[tokens]
    assert dropped == 0
    assert abs(notes.seconds(notes.end) - duration) < 1e-6
    assert len(notes) == CODEC.onset_tokens[tokens].sum() == len(decoded) > 0
    assert (notes.onset >= 0).all() and (notes.duration >= 1).all()
    assert (notes.onset.astype(np.int64) + notes.duration <= notes.end).all()
    assert len(notes.tempo_qpm) == len(notes.meter_tick) == 1
    meter, tempo = int(decoded.meter[0]), float(meters.TEMPOS[decoded.tempo[0]])
    bars, last = whole_bars(duration, meter, tempo, 12)
    assert piece.bars == decoded.bars == bars
    steps = (bars - 1) * meters.bar_length(meter, 12) + (last or meters.bar_length(meter, 12))
    assert notes.end == steps * 40
    # It comes to rest: what begins last has an eighth to sound, or the half bar.
    whole = meters.bar_length(meter, 12)
    short, half = last or whole, whole // 2
    onset = int(notes.onset.max()) // 40 - (steps - short)
    assert onset <= short - min(6, short // 2) or onset == half
    # Played at a tempo that is the one the model chose, but for what makes it fit.
    assert notes.tempo_qpm[0] == pytest.approx(steps / 12 * 60 / duration)
    left = values[kinds == CODEC.vocabulary.kinds["bar"]]
    assert np.array_equal(left, bars_left_index(np.arange(bars - 1, -1, -1)))
    ends = np.flatnonzero(tokens == CODEC.vocabulary.start["eos"])
    assert ends.tolist() == [len(tokens) - 1]
    assert CODEC.vocabulary.start["part"] not in tokens
    bar = np.searchsorted(decoded.bar_step, decoded.onset, side="right") - 1
    holds = np.bincount(bar, minlength=bars)
    assert holds[0] and holds[-1]
    runs = "".join("x" if n else "." for n in holds).split("x")
    assert max(map(len, runs)) <= SILENT_BARS


@pytest.mark.parametrize("duration", (1.0, 3.3, 10.0, 17.123456))
def test_exact_durations(composer, duration):
    for seed in range(3):
        (piece,) = compose(composer, duration, (), seed)
        check(piece, duration)


def test_a_piece_longer_than_the_context(long_piece):
    piece, _ = long_piece
    assert len(piece.tokens) > 3 * CONTEXT
    check(piece, LONG)
    assert set(CODEC.decode(piece.tokens)[0].styles) >= {"pop", "jazz"}
    assert BARS_LEFT[0] == 0


@pytest.mark.parametrize("length", (2 * CHUNK, 2 * CHUNK + 1, 2 * CHUNK + 2))
def test_prompts_of_any_length_are_read_to_their_last_token(composer, long_piece, length):
    """A note whose last token was missed would get a second duration."""
    kind, start = CODEC.vocabulary.kind, CODEC.vocabulary.start
    note = CODEC.vocabulary.kinds["note"]
    body = long_piece[0].tokens[3:]
    ends = np.flatnonzero(kind[body] == note) + 1
    end = ends[ends <= length - 2][-1]
    # As many styles as make the prompt as long as is wanted.
    styles = start["style"] + np.arange(length - 1 - end)
    prompt = np.concatenate([[start["bos"]], styles, body[:end]]).astype(np.int32)
    planner = composer.planner(Wishes(LONG))
    (_, plan), keys = planner.begin(1), jax.vmap(jax.random.key)(jnp.arange(1))
    settings = decoding.settings(config.Sampling(), CODEC.vocabulary)
    progress = next(composer.sampler.fill([prompt], [prompt], planner, plan, keys, settings))
    row = np.asarray(progress.tokens)[0]
    assert np.array_equal(row[:length], prompt)
    assert kind[row[length]] not in (note, CODEC.vocabulary.kinds["hold"])


def test_progress_goes_up_to_all_bars(long_piece):
    piece, seen = long_piece
    finished, total = zip(*seen)
    assert list(finished) == sorted(finished)
    assert seen[-1] == (piece.bars, piece.bars)
    # Once the header is written the number of bars is known.
    assert set(total[len(total) // 4 :]) == {piece.bars}


def test_seeds(composer, long_piece):
    (again,) = compose(composer, LONG, ("jazz", "pop"), 5)
    assert np.array_equal(again.tokens, long_piece[0].tokens)
    (other,) = compose(composer, LONG, ("pop", "jazz"), 6)
    assert not np.array_equal(other.tokens[:50], again.tokens[:50])


def test_each_piece_is_the_same_whatever_the_count(composer):
    seen = []
    three = compose(composer, 10.0, ("pop",), 11, count=3, progress=lambda *p: seen.append(p))
    (alone,) = compose(composer, 10.0, ("pop",), 11)
    assert np.array_equal(three[0].tokens, alone.tokens)
    for piece in three:
        check(piece, 10.0)
    assert len({piece.tokens.tobytes() for piece in three}) == 3
    bars = sum(piece.bars for piece in three)
    assert seen[-1] == (bars, bars)


def test_temperature_0_is_the_same_for_all_seeds(composer):
    cold = config.Sampling(temperature=0.0)
    a, b = (compose(composer, 3.3, (), seed, sampling=cold)[0] for seed in (1, 2))
    assert np.array_equal(a.tokens, b.tokens)
    check(a, 3.3)


def test_what_is_written_parses_and_lasts_as_long(composer, long_piece, tmp_path):
    import mido
    import pretty_midi
    import symusic

    short = compose(composer, 10.0, (), 1)[0]
    for piece, duration in ((long_piece[0], LONG), (short, 10.0)):
        path = tmp_path / "piece.mid"
        write_midi(piece.notes, path)
        assert mido.MidiFile(str(path), clip=False).length == pytest.approx(duration, abs=0.05)
        assert pretty_midi.PrettyMIDI(str(path)).get_end_time() <= duration + 0.05
        score = symusic.Score(str(path), ttype="tick")
        assert score.note_num() == len(piece.notes)


@pytest.mark.quick
def test_impossible_wishes_are_refused(composer):
    for kwargs, reason in (
        ({"duration": 0.0}, "duration"),
        ({"duration": 1e9}, "duration"),
        ({"duration": float("nan")}, "duration"),
        ({"duration": 10.0, "count": 0}, "count"),
        ({"duration": 10.0, "styles": ("zydeco",)}, "zydeco"),
        ({"duration": 10.0, "sampling": config.Sampling(top_p=0.0)}, "top_p"),
    ):
        with pytest.raises(UserError, match=reason):
            compose(composer, **kwargs)
