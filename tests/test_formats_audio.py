"""Sound: what is written can be heard, at the right time and pitch, and nothing clips."""

import io
import sys
import wave

import numpy as np
import pytest

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import audio
from jaxmusic._src.formats.audio import RATE, encoded, render
from jaxmusic._src.music.notes import make_notes

pytest.importorskip("midirenderer")
pytest.importorskip("soxr")


def decibels(sound):
    return 20 * np.log10(np.abs(sound).max())


def test_a_long_a_has_its_pitch_level_and_length():
    notes = make_notes([0], [1920], [69], [100], [0], program=[73], end=1920)  # a flute, 2 s
    sound = render(notes)
    assert sound.dtype == np.float32 and sound.shape[1] == 2
    assert -1.5 < decibels(sound) < -0.9
    assert 2 <= len(sound) / RATE <= 4
    middle = sound[RATE // 2 : RATE * 3 // 2].mean(axis=1)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    loudest = np.argmax(spectrum) * RATE / len(middle)
    # The fundamental or a harmonic of it, within an eighth of a semitone.
    harmonic = round(loudest / 440)
    assert harmonic >= 1 and abs(12 * np.log2(loudest / (440 * harmonic))) < 0.125
    below = spectrum[: int(400 * len(middle) / RATE)].max()
    assert below < 0.05 * spectrum.max()


def test_each_onset_is_heard_at_its_time():
    onset = [0, 960, 1920, 3840]  # 0, 1, 2 s at 120, then 2 beats at 60: 4 s
    notes = make_notes(
        *(onset, [120] * 4, [60, 64, 67, 72], [90] * 4, [0] * 4),
        tempos=((0, 120.0), (1920, 120.0), (2880, 60.0)),
        end=4320,
    )
    sound = np.abs(render(notes)).max(axis=1)
    for second in notes.seconds(np.array(onset)):
        start = round(float(second) * RATE)
        before = sound[max(0, start - 4410) : max(1, start - 100)].max()
        assert sound[start : start + 4410].max() > 4 * before


def test_drums_are_heard():
    notes = make_notes([0, 480], [60] * 2, [36, 38], [100] * 2, [0] * 2, drum=[True], end=960)
    sound = render(notes)
    assert -1.5 < decibels(sound) < -0.9
    hits = sound[:9000].mean(axis=1), sound[22050:31050].mean(axis=1)
    energy = [np.abs(np.fft.rfft(hit)) ** 2 for hit in hits]
    # A kick drum is nearly all below 1 kHz, a snare drum rattles above.
    high = int(1000 * 9000 / RATE)
    kick, snare = (e[high:].sum() / e.sum() for e in energy)
    assert snare > 3 * kick


def test_loud_music_does_not_clip():
    # A hundred sawtooth leads at once are several times too loud for 16 bits.
    rows = [(0, 480, 20 + i, 127, i % 15) for i in range(100)]
    sound = render(make_notes(*zip(*rows), program=[81] * 15, drum=[False] * 15))
    assert -1.5 < decibels(sound) < -0.9
    assert (np.abs(sound) > 0.999 * np.abs(sound).max()).sum() < 10


def test_silence_stays_silent_and_keeps_its_length():
    sound = render(make_notes([], [], [], [], [], program=[], drum=[], end=960))
    assert sound.shape == (RATE, 2) and not sound.any()


def test_wav_files():
    notes = make_notes([0], [480], [60], [80], [0], end=960)
    with wave.open(io.BytesIO(encoded(notes))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 44100)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert len(samples) == len(render(notes)) and abs(np.abs(samples).max() - 29204) < 2


@pytest.mark.parametrize("package", ["midirenderer", "soxr"])
def test_missing_packages_are_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"Sound needs {package}: run pip install"):
        render(make_notes([0], [480], [60], [80], [0]))


@pytest.mark.parametrize(
    "font", [b"", b"RIFF\x10\0\0\0sfbk" + bytes(100)], ids=["empty", "damaged"]
)
def test_a_damaged_sound_font_is_one_sentence(font):
    with pytest.raises(UserError, match="pip install"):
        audio._play(make_notes([0], [480], [60], [80], [0]), font)
