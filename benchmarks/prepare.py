"""Preparing music: from MIDI file to tokens beside note_seq, and how well POP909 fits the grid.

Both sides read a file, put it on a grid of 12 steps to the beat with 8 loudness levels and turn
it into token ids, in one process. note_seq's way is its own: `midi_file_to_note_sequence`,
`quantize_note_sequence`, `MetricPerformance` and the labels of its one-hot encoding. It refuses
files with several tempos or meters, so only files that it accepts are timed.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tqdm

from benchmarks import runner
from benchmarks.runner import Options, Result, Row
from jaxmusic import config
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.data import cleaning
from jaxmusic.formats import midi
from jaxmusic.music import beats, grid

FILES = 20
"""Files timed unless --count says otherwise."""
GOAL = 20.0
CODEC = MetricalCodec()
GRID = CODEC.config


def ours(path: pathlib.Path) -> np.ndarray:
    """Tokens of a file by jaxmusic's path: read, align to the music's beats, quantise, encode."""
    aligned, _ = beats.align(midi.read_notes(path))
    piece, _ = grid.quantise(aligned, GRID.steps_per_beat, GRID.velocities)
    return CODEC.encode(piece)


class Peer:
    """note_seq's path from file to token ids on the same grid and loudness levels."""

    def __init__(self) -> None:
        self._sequences: Any = runner.peer("note_seq.sequences_lib")
        self._performance: Any = runner.peer("note_seq.performance_lib")
        self._read: Any = runner.peer("note_seq").midi_file_to_note_sequence
        encoder = runner.peer("note_seq.encoder_decoder").OneHotEventSequenceEncoderDecoder
        coding = runner.peer("note_seq.performance_encoder_decoder").PerformanceOneHotEncoding
        self._default = coding(num_velocity_bins=32)
        quarters = self._performance.DEFAULT_MAX_SHIFT_QUARTERS
        self._encoder = encoder(
            coding(
                num_velocity_bins=GRID.velocities,
                max_shift_steps=quarters * GRID.steps_per_beat,
            )
        )

    def tokens(self, path: pathlib.Path) -> list[int]:
        """Labels of a file's events."""
        quantised = self._sequences.quantize_note_sequence(self._read(path), GRID.steps_per_beat)
        events = self._performance.MetricPerformance(quantised, num_velocity_bins=GRID.velocities)
        return [self._encoder.events_to_label(events, i) for i in range(len(events))]

    def performance(self, sequence: Any) -> list[int]:
        """Its own default: labels of a sequence in steps of 10 ms with 32 levels of loudness."""
        library = self._performance
        quantised = self._sequences.quantize_note_sequence_absolute(sequence, 100)
        events = library.Performance(quantised, num_velocity_bins=32)
        return [self._default.encode_event(event) for event in events]

    def takes(self, path: pathlib.Path) -> bool:
        """Whether the quantiser accepts a file; it raises on several tempos or meters."""
        library = self._sequences
        try:
            library.quantize_note_sequence(self._read(path), GRID.steps_per_beat)
        except (library.MultipleTempoError, library.MultipleTimeSignatureError):
            return False
        return True


def run(options: Options) -> Result:
    """Times both paths on every k-th accepted song and aligns all songs."""
    songs = sorted((options.folder("data") / "pop909").rglob("*.mid"))
    if not songs:
        raise SystemExit("Give --data a folder whose folder pop909 holds the POP909 dataset.")
    peer = Peer()
    wanted = options.count or FILES
    tried = songs[:: max(1, len(songs) // (3 * wanted))]
    accepted = [s for s in _progress(tried, "asking note_seq") if peer.takes(s)]
    timed = accepted[:: max(1, len(accepted) // wanted)][:wanted]
    notes = sum(len(midi.read_notes(song)) for song in timed)
    ratio = _timed(ours, peer.tokens, timed, options.repeats)
    read = {song: midi.read_notes(song) for song in timed}
    aligning = 1 / _timed(lambda song: beats.align(read[song]), ours, timed, options.repeats).median
    tokens, peer_tokens = (sum(len(f(song)) for song in timed) for f in (ours, peer.tokens))
    return Result(
        columns=("what", "jaxmusic", "note_seq"),
        rows=(
            Row(
                (
                    "notes per second per core, file to tokens",
                    notes / ratio.ours_seconds,
                    notes / ratio.peer_seconds,
                )
            ),
            Row(
                ("times as fast, median of repeats", round(ratio.median, 1), 1),
                f"at least {GOAL:g}",
                ratio.median >= GOAL,
            ),
            Row(("times as fast, fewest", round(ratio.min, 1), 1)),
            Row(("times as fast, most", round(ratio.max, 1), 1)),
            Row(("share of the time spent on finding beats and bars", aligning, 0)),
            Row(("tokens per note, same songs", tokens / notes, peer_tokens / notes)),
            *_all(songs),
        ),
        notes=(
            f"{len(timed)} songs with {notes:,} notes, {options.repeats} repeats; in each, one "
            "side does all songs and then the other. Seconds are the process's own.",
            f"note_seq accepts {len(accepted)} of {len(tried)} songs tried.",
            "jaxmusic's side includes finding the beats of the music; note_seq takes the file's.",
            "Onset errors are mean distances from the nearest 12th of a beat, means over songs.",
        ),
    )


def _all(songs: list[pathlib.Path]) -> list[Row]:
    """How all songs fit: those kept by the rules of a dataset, onset errors, tokens per note."""
    rules = config.Prepare()
    fits, kept, notes, tokens = [], 0, 0, 0
    for song in _progress(songs, "aligning"):
        read = midi.read_notes(song)
        aligned, fit = beats.align(read)
        piece, _ = grid.quantise(aligned, GRID.steps_per_beat, GRID.velocities)
        fits.append(fit)
        kept += not (cleaning.reject(read, rules) or cleaning.no_grid(fit, rules))
        notes += len(read)
        tokens += len(CODEC.encode(piece))
    errors = (np.mean([f.file_error_ms for f in fits]), np.mean([f.error_ms for f in fits]))
    return [
        Row((f"songs of {len(songs)} that a dataset keeps", kept, "")),
        Row(("onset error on the file's own beats, all songs (ms)", float(errors[0]), "")),
        Row(("onset error on the beats used, all songs (ms)", float(errors[1]), "")),
        Row(("tokens per note, all songs", tokens / notes, "")),
    ]


def _timed(
    side: Callable[[pathlib.Path], object],
    other: Callable[[pathlib.Path], object],
    songs: list[pathlib.Path],
    repeats: int,
) -> runner.Ratio:
    """Processor time of both sides on all songs; in turns by the song, caches would be cold."""

    def over(do: Callable[[pathlib.Path], object]) -> Callable[..., object]:
        return lambda *songs: [do(song) for song in songs]

    return runner.interleave(over(side), over(other), repeats, [songs], time.process_time)


def _progress(items: list[pathlib.Path], what: str) -> Iterable[pathlib.Path]:
    return tqdm.tqdm(items, what, leave=False)
