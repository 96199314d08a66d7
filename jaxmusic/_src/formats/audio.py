"""Sound: a piece played by a small General MIDI sound font."""

from __future__ import annotations

import functools
import importlib.util
import io
import pathlib
import wave

import numpy as np
from tqdm.auto import tqdm

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.midi_writing import midi_bytes
from jaxmusic._src.music.notes import Notes

RATE = 44_100
"""Samples per second."""
PEAK = 10 ** (-1 / 20)
"""Loudest sample: -1 dBFS, so that lossy compression does not clip."""
_TAIL = 2.0  # seconds that the last notes may go on ringing
_SILENCE = 1e-3  # share of the peak, -60 dB, below which nothing rings any more
_VOLUME = 100  # what General MIDI players start from
_LONG = 60.0  # seconds of music that take over two seconds to render


def render(notes: Notes) -> np.ndarray:
    """Plays a piece: float32 [samples, 2] in -1 to 1, `RATE` samples per second.

    The sound is as long as the piece and up to two seconds more in which its last notes die away.
    At most 64 notes sound at once. The loudest sample is `PEAK`, unless nothing sounds.

    Raises:
      UserError: a package that makes the sound, or its sound font, is missing or damaged.
    """
    seconds = float(notes.seconds(notes.end))
    with tqdm(total=round(seconds), unit="s", desc="sound", disable=seconds < _LONG) as bar:
        sound = _play(notes, _sound_font())
        bar.update(round(seconds))
    peak = np.abs(sound).max(initial=0)
    if peak > 0:
        sound *= PEAK / peak
    return _end(sound, round(seconds * RATE))


def encoded(notes: Notes, rate: int = RATE, channels: int = 2) -> bytes:
    """A WAV file of a piece, 16 bits, see `render`.

    Args:
      notes: the piece.
      rate: samples per second.
      channels: 2 for stereo, 1 for the mean of both sides.
    """
    sound = render(notes)
    if channels == 1:
        sound = sound.mean(axis=1, keepdims=True)
    if rate != RATE:
        import soxr

        sound = soxr.resample(sound, RATE, rate)
    samples = np.rint(sound.clip(-1, 1) * 32767).astype("<i2")
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return data.getvalue()


def _play(notes: Notes, font: bytes) -> np.ndarray:
    """Sound of a piece and `_TAIL` seconds after it, float32 [samples, 2], at any level."""
    try:
        import midirenderer
        import soxr
    except ImportError as error:
        raise UserError(
            f"Sound needs {error.name}: run pip install midirenderer soxr pretty_midi."
        ) from error
    # The player stops dead at the end of the file, so the file is longer by the release tail.
    tail = int(np.ceil(_TAIL * notes.tempo_qpm[-1] / 60 * notes.ticks_per_beat))
    longer = notes.replace(end=notes.end + tail)
    volume = _VOLUME
    while True:
        try:
            data = midirenderer.render_wave_from(font, midi_bytes(longer, volume))
        except RuntimeError as error:  # of the sound font
            raise UserError(
                f"Sound cannot be made ({error}): run pip install --force-reinstall pretty_midi."
            ) from error
        with wave.open(io.BytesIO(data)) as file:
            rate, channels = file.getframerate(), file.getnchannels()
            played = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        # The player cuts off what is too loud for 16 bits; then it plays again at a quarter of
        # the amplitude, which goes with the square of the volume.
        if np.abs(played.astype(np.int32)).max(initial=0) < 2**15 - 1 or volume < 2:
            break
        volume //= 2
    sound = played.reshape(-1, channels).astype(np.float32) / 2**15
    return soxr.resample(sound, rate, RATE)


@functools.cache
def _sound_font() -> bytes:
    """TimGM6mb, the sound font that the pretty_midi package carries."""
    package = importlib.util.find_spec("pretty_midi")  # found, not imported: that takes seconds
    for folder in package.submodule_search_locations or () if package else ():
        path = pathlib.Path(folder) / "TimGM6mb.sf2"
        if path.is_file():
            return path.read_bytes()
    raise UserError("Sound needs the sound font of pretty_midi: run pip install pretty_midi.")


def _end(sound: np.ndarray, length: int) -> np.ndarray:
    """Cuts or fills to `length` samples and what rings after them, fading out what is left."""
    sound = np.pad(sound, ((0, max(0, length - len(sound))), (0, 0)))
    loud = np.flatnonzero(np.abs(sound).max(axis=1) > _SILENCE)
    last = int(loud[-1]) + 1 if len(loud) else 0
    sound = sound[: min(max(length, last), length + round(_TAIL * RATE))]
    tail = len(sound) - length
    # Half a cosine: the whole way down over the last half second of the tail at most.
    fade = min(tail, RATE // 2)
    if fade:
        sound[-fade:] *= (0.5 + 0.5 * np.cos(np.linspace(0, np.pi, fade)))[:, None]
    return sound
