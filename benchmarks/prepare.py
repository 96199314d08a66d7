"""Preparing music: from MIDI file to tokens beside note_seq.

Both sides read a file, put it on a grid of 12 steps to the beat with 8 loudness levels and turn
it into token ids, in one process. note_seq's way is its own: `midi_file_to_note_sequence`,
`quantize_note_sequence`, `MetricPerformance` and the labels of its one-hot encoding. It refuses
files with several tempos or meters, so only files that it accepts are timed.
"""

from __future__ import annotations

import pathlib
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import runner
from benchmarks.runner import Result, Table
from benchmarks.songs import files
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.formats import midi
from jaxmusic._src.music import beats, grid

GOAL = 20
CODEC = MetricalCodec()
GRID = CODEC.config


def ours(path: pathlib.Path) -> np.ndarray:
    """Returns the tokens of a file: read, align to the music's beats, quantise, encode."""
    aligned, _ = beats.align(midi.read_notes(path))
    piece, _ = grid.quantise(aligned, GRID.steps_per_beat, GRID.velocities)
    return CODEC.encode(piece)


class Peer:
    """note_seq's path from file to token ids on the same grid and loudness levels."""

    def __init__(self) -> None:
        """Imports note_seq."""
        self._sequences: Any = runner.peer("note_seq.sequences_lib")
        self._performance: Any = runner.peer("note_seq.performance_lib")
        self._read: Any = runner.peer("note_seq").midi_file_to_note_sequence
        encoder = runner.peer("note_seq.encoder_decoder").OneHotEventSequenceEncoderDecoder
        coding = runner.peer("note_seq.performance_encoder_decoder").PerformanceOneHotEncoding
        steps = self._performance.DEFAULT_MAX_SHIFT_QUARTERS * GRID.steps_per_beat
        self._default = coding(num_velocity_bins=32)
        self._encoder = encoder(coding(num_velocity_bins=GRID.velocities, max_shift_steps=steps))

    def tokens(self, path: pathlib.Path) -> list[int]:
        """Returns the labels of a file's events."""
        quantised = self._sequences.quantize_note_sequence(self._read(path), GRID.steps_per_beat)
        events = self._performance.MetricPerformance(quantised, num_velocity_bins=GRID.velocities)
        return [self._encoder.events_to_label(events, i) for i in range(len(events))]

    def performance(self, sequence: Any) -> list[int]:
        """Returns labels by its own default: steps of 10 ms with 32 levels of loudness."""
        quantised = self._sequences.quantize_note_sequence_absolute(sequence, 100)
        events = self._performance.Performance(quantised, num_velocity_bins=32)
        return [self._default.encode_event(event) for event in events]

    def takes(self, path: pathlib.Path) -> bool:
        """Returns whether the quantiser accepts a file; it raises on several tempos or meters."""
        library = self._sequences
        try:
            library.quantize_note_sequence(self._read(path), GRID.steps_per_beat)
        except (library.MultipleTempoError, library.MultipleTimeSignatureError):
            return False
        return True


def run(data: str = runner.DATA, count: int = 20, repeats: int = 5) -> Result:
    """Times both paths on songs that both accept.

    Args:
      data: folder of real music; from JAXMUSIC_DATA unless given.
      count: songs that are timed.
      repeats: measurements of each side.
    """
    songs = files(data, "pop909")
    peer = Peer()
    tried = songs[:: max(1, len(songs) // (3 * count))]
    accepted = [s for s in tqdm(tried, "asking note_seq", leave=False) if peer.takes(s)]
    timed = accepted[:: max(1, len(accepted) // count)][:count]
    read = [midi.read_notes(song) for song in timed]
    notes = sum(map(len, read))
    sides = {
        "ours": lambda: [ours(song) for song in timed],
        "peer": lambda: [peer.tokens(song) for song in timed],
        "aligning": lambda: [beats.align(piece) for piece in read],
    }
    seconds = runner.in_turns(sides, repeats, time.process_time)
    least, median, most = runner.ratios(seconds["peer"], seconds["ours"])
    middle = {name: float(np.median(found)) for name, found in seconds.items()}
    tokens, peer_tokens = (sum(len(f(song)) for song in timed) for f in (ours, peer.tokens))
    rows = [
        (
            "notes per second per core, file to tokens",
            notes / middle["ours"],
            notes / middle["peer"],
        ),
        ("times as fast, median of repeats", median, 1),
        ("times as fast, fewest", least, 1),
        ("times as fast, most", most, 1),
        (
            "share of the time spent on finding beats and bars",
            middle["aligning"] / middle["ours"],
            0,
        ),
        ("tokens per note, same songs", tokens / notes, peer_tokens / notes),
    ]
    return Result(
        [Table(("what", "jaxmusic", "note_seq"), rows)],
        [runner.at_least("file to tokens, times as fast as note_seq", GOAL, median)],
        [
            f"{len(timed)} songs with {notes:,} notes, {repeats} repeats; in each, one side does "
            "all songs and then the other. Seconds are the process's own.",
            f"note_seq accepts {len(accepted)} of {len(tried)} songs tried.",
            "jaxmusic's side includes finding the beats of the music; note_seq takes the file's.",
        ],
    )
