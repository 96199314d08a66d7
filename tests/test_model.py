"""The library's face: load, generate, score, write and read."""

import dataclasses
import math

import numpy as np
import pytest
import toys

import jaxmusic
from jaxmusic import config
from jaxmusic._src.core.errors import Remark
from jaxmusic._src.formats import sequence as sequences
from jaxmusic._src.music import beats, grid


@pytest.fixture(scope="module")
def model(toy_run):
    return jaxmusic.load(toy_run)


def test_generate_gives_a_sequence_of_the_asked_length(model, tmp_path):
    sequence = model.generate(style="pop", duration=20.0, seed=1)
    assert type(sequence).__name__ == "NoteSequence"
    assert sequence.total_time == pytest.approx(20.0, abs=1e-6)
    assert max(note.end_time for note in sequence.notes) <= 20.0 + 1e-6
    jaxmusic.write(sequence, tmp_path / "song.mid")
    again = jaxmusic.read(tmp_path / "song.mid")
    assert len(again.notes) == len(sequence.notes)
    assert sorted(n.pitch for n in again.notes) == sorted(n.pitch for n in sequence.notes)


def test_generate_takes_controls_as_one_or_by_name(model):
    wishes = config.Controls(style="pop", duration="0:15", tempo=100, meter="3/4", seed=2)
    one = model.generate(controls=wishes)
    assert one == model.generate("pop", 15, 2, tempo=100, meter="3/4")
    assert one == model.generate(controls=wishes, duration=15.0)
    assert (one.time_signatures[0].numerator, one.time_signatures[0].denominator) == (3, 4)
    assert abs(one.tempos[0].qpm / 100 - 1) <= 0.01
    with pytest.raises(jaxmusic.UserError, match="'speed'"):
        model.generate(speed=100)


def test_a_model_knows_which_instruments_it_has_heard(model, toy_run, tmp_path, recwarn):
    from jaxmusic._src.formats.instruments import DRUM_PROGRAM
    from jaxmusic._src.runs import weights

    counts = model.heard.programs
    assert model.heard.pieces >= counts[DRUM_PROGRAM] > 0 and min(counts.values()) > 0
    sitar, bass = 104, max(range(32, 40), key=lambda p: counts.get(p, 0))
    assert sitar not in counts and bass in counts
    made = model.generate(duration=8.0, seed=1, instruments=["bass"])
    (program,) = {note.program for note in made.notes}
    assert counts[program] == counts[bass] and not recwarn.list
    asked = {"duration": 8.0, "seed": 1, "instruments": "sitar, drums"}
    model.generate(**asked)
    said = str(recwarn.pop(Remark).message)
    assert "Sitar (0)" in said and "drums (" not in said
    with pytest.raises(jaxmusic.UserError, match="Sitar"):
        model.generate(**asked, strict_instruments=True)
    weights.export(toy_run, tmp_path / "toy.safetensors")
    assert jaxmusic.load(tmp_path / "toy.safetensors").heard == model.heard


def test_bars_are_streamed(model):
    from jaxmusic._src.generate import streaming

    bars = list(model.stream("pop", 15.0, 2))
    assert [bar.number for bar in bars] == list(range(1, bars[0].total + 1))
    assert sequences.to_sequence(streaming.join(bars)) == model.generate("pop", 15.0, 2)


def test_score_adds_up(model, starter_data):
    from jaxmusic._src.data import starter

    piece = next(starter.corpus(1, first=309))
    score = model.score(sequences.to_sequence(piece))
    assert score.notes == len(piece)
    assert score.seconds == pytest.approx(float(piece.seconds(piece.end)), rel=1e-3)
    assert score.bits_per_note == pytest.approx(score.bits / score.notes)
    assert score.bits_per_second == pytest.approx(score.bits / score.seconds)
    # Tokens are scored one by one, and styles that it does not know are left out.
    read, semitones = model.quantise(beats.align(piece)[0])
    assert semitones == 0 and set(read.styles) <= set(model.styles)
    assert model.scorer.score(read).bits == pytest.approx(score.bits)
    assert model.scorer is model.scorer
    # A model that has hardly learned is near the uniform distribution over the vocabulary.
    aligned, _ = beats.align(piece)
    tokens = len(model.codec.encode(grid.quantise(aligned)[0]))
    assert 0.3 < score.bits / (tokens * math.log2(model.codec.vocab_size)) < 1.3


def test_a_model_of_c_major_reads_a_piece_there(model):
    from jaxmusic._src.data import starter

    piece = next(starter.corpus(1, first=309))
    labels = dataclasses.replace(
        piece.labels, key_tick=np.zeros(1, np.int32), key=np.array([2], np.uint8)
    )
    sequence = sequences.to_sequence(piece.replace(labels=labels))
    experiment = dataclasses.replace(
        model.experiment, data=dataclasses.replace(model.experiment.data, normalise=True)
    )
    home = jaxmusic.MusicModel(experiment, model.codec, model.params, model.styles)
    down = dataclasses.replace(labels, key=np.array([0], np.uint8), chord=(labels.chord + 0))
    pitch = np.where(piece.is_drum, piece.pitch, piece.pitch - 2).astype(np.uint8)
    moved = home.score(sequence)
    assert moved.semitones == -2 and model.score(sequence).semitones == 0
    assert moved.bits != pytest.approx(model.score(sequence).bits, rel=1e-6)
    lower = sequences.to_sequence(piece.replace(labels=down, pitch=pitch))
    bare = jaxmusic.MusicModel(model.experiment, model.codec, model.params, model.styles)
    assert home.score(lower).semitones == 0
    assert home.score(lower).bits == pytest.approx(bare.score(lower).bits, rel=1e-6)


def test_load_takes_a_step_and_refuses_what_is_not_a_run(toy_run, tmp_path):
    assert jaxmusic.load(toy_run, step=3).step == 3
    with pytest.raises(jaxmusic.UserError, match="999"):
        jaxmusic.load(toy_run, step=999)
    with pytest.raises(jaxmusic.UserError, match="run"):
        jaxmusic.load(tmp_path)


def test_a_model_of_performances(starter_data, tmp_path):
    """The same dataset, another codec: train, load, score and compose."""
    from jaxmusic._src.data import starter
    from jaxmusic._src.train import trainer

    codec = config.Codec(velocities=32, kind="performance")
    experiment = dataclasses.replace(toys.experiment(starter_data), codec=codec, steps=3)
    trainer.train(experiment, str(tmp_path / "run"), progress=False)
    model = jaxmusic.load(tmp_path / "run")
    assert model.codec.config == codec and model.codec.vocab_size == 464
    piece = next(starter.corpus(1, first=309))
    score = model.score(sequences.to_sequence(piece))
    assert (
        score.notes == len(model.codec.quantise(beats.align(piece)[0])[0]) > 1000 and score.bits > 0
    )
    sequence = model.generate(style="pop", duration=12.34, seed=1)
    assert sequence.total_time == pytest.approx(12.34, abs=1e-6)
    other = dataclasses.replace(experiment, codec=config.Codec(), init_from=str(tmp_path / "run"))
    with pytest.raises(jaxmusic.UserError, match=r"codec.kind to performance"):
        trainer.train(other, str(tmp_path / "other"), progress=False)
