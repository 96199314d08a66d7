"""Composing: twenty seeds of three minutes, every file checked by other people's parsers.

Bars are those that the file's own time signatures draw. A bar is silent if no note sounds in it.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import tempfile
import time

import mido
import numpy as np
import tqdm

from benchmarks.runner import Options, Result, Row, peer

SEEDS = 20
"""Pieces unless --count says otherwise."""
DURATION = 180.0
TOLERANCE = 1e-3
"""Seconds by which an end may miss the duration: tempos in MIDI are whole microseconds."""
SILENT_BARS = 2
"""Longest run of silent bars that passes."""


@dataclasses.dataclass(frozen=True)
class Timeline:
    """A MIDI file read by mido alone, with times in ticks.

    Attributes:
      start, stop: [N], when each note begins and ends.
      end: the last end-of-track of the file.
      bars: bar lines [B + 1] from 0; the last is at or past the end.
      tempos: (tick, microseconds per beat) pairs from 0 on.
      ticks_per_beat: of the file.
    """

    start: np.ndarray
    stop: np.ndarray
    end: int
    bars: np.ndarray
    tempos: tuple[tuple[int, int], ...]
    ticks_per_beat: int

    def seconds(self, tick: int) -> float:
        """Seconds at a tick, summed over the tempo map."""
        total, then, tempo = 0.0, 0, 500_000
        for at, following in self.tempos:
            if at >= tick:
                break
            total += mido.tick2second(at - then, self.ticks_per_beat, tempo)
            then, tempo = at, following
        return total + mido.tick2second(tick - then, self.ticks_per_beat, tempo)


def timeline(path: pathlib.Path) -> Timeline:
    """Reads notes, tempos, meters and end of a MIDI file."""
    file = mido.MidiFile(path)
    notes, tempos, meters, ends = [], [(0, 500_000)], [(0, 4, 4)], [0]
    for track in file.tracks:
        now = 0
        sounding: dict[tuple[int, int], list[int]] = {}
        for message in track:
            now += message.time
            if message.type == "set_tempo":
                tempos.append((now, message.tempo))
            elif message.type == "time_signature":
                meters.append((now, message.numerator, message.denominator))
            elif message.type == "end_of_track":
                ends.append(now)
            elif message.type in ("note_on", "note_off"):
                voice = (message.channel, message.note)
                if message.type == "note_on" and message.velocity:
                    sounding.setdefault(voice, []).append(now)
                elif sounding.get(voice):
                    notes.append((sounding[voice].pop(0), now))
    end = max(ends)
    lines: list[float] = [0.0]
    changes = [*sorted(meters, key=lambda m: m[0]), (end, 4, 4)]
    for (at, num, den), (then, _, _) in itertools.pairwise(changes):
        if then <= at:
            continue
        length = file.ticks_per_beat * 4 * num / den
        lines += [at + i * length for i in range(1, int(np.ceil((then - at) / length)) + 1)]
        if then < end:
            lines[-1] = then  # a new meter begins a new bar
    columns = np.array(notes, np.int64).reshape(-1, 2).T
    order = tuple(sorted(tempos, key=lambda t: t[0]))
    return Timeline(columns[0], columns[1], end, np.array(lines), order, file.ticks_per_beat)


def silent_run(piece: Timeline) -> int:
    """Bars in the longest run of bars in which nothing sounds."""
    longest = now = 0
    for first, last in itertools.pairwise(piece.bars):
        sounds = bool(((piece.start < last) & (piece.stop > first)).any())
        now = 0 if sounds else now + 1
        longest = max(longest, now)
    return longest


def measure(path: pathlib.Path, duration: float) -> dict[str, float]:
    """One number for each check on one file."""
    piece = timeline(path)
    first, last = piece.bars[1], piece.bars[-2]
    counts = [len(piece.start)]
    for read in (_pretty_midi, _symusic):
        try:
            counts.append(read(path))
        except Exception:  # whatever a parser raises, the file failed
            counts.append(-1)
    return {
        "end": abs(piece.seconds(piece.end) - duration),
        "past": sum(piece.seconds(int(t)) > duration + TOLERANCE for t in set(piece.stop.tolist())),
        "first": int((piece.start < first).sum()),
        "last": int((piece.start >= last).sum()),
        "silent": silent_run(piece),
        "mido": counts[0],
        "pretty_midi": counts[1],
        "symusic": counts[2],
    }


def _pretty_midi(path: pathlib.Path) -> int:
    parsed = peer("pretty_midi").PrettyMIDI(str(path))
    return sum(len(i.notes) for i in parsed.instruments)


def _symusic(path: pathlib.Path) -> int:
    return peer("symusic").Score(str(path)).note_num()


def report(files: list[dict[str, float]]) -> list[Row]:
    """A row for each check: what was seen at worst, and how many files pass."""
    checks = (
        ("end", "end of track is not at the duration by (s, largest)", max,
         f"at most {TOLERANCE:g} s", lambda f: f["end"] <= TOLERANCE),
        ("past", "ends of notes past the duration (most)", max, "none", lambda f: not f["past"]),
        ("first", "onsets in the first bar (fewest)", min, "at least 1", lambda f: f["first"] > 0),
        ("last", "onsets in the last bar (fewest)", min, "at least 1", lambda f: f["last"] > 0),
        ("silent", "longest run of silent bars (most)", max, f"at most {SILENT_BARS}",
         lambda f: f["silent"] <= SILENT_BARS),
        ("mido", "notes read by mido (fewest)", min, "at least 1", lambda f: f["mido"] > 0),
        ("pretty_midi", "notes read by pretty_midi (fewest)", min, "as many as by mido",
         lambda f: f["pretty_midi"] == f["mido"]),
        ("symusic", "notes read by symusic (fewest)", min, "as many as by mido",
         lambda f: f["symusic"] == f["mido"]),
    )  # fmt: skip
    rows = []
    for key, text, worst, goal, passes in checks:
        passed = sum(bool(passes(f)) for f in files)
        shown = (text, worst(f[key] for f in files), f"{passed} of {len(files)}")
        rows.append(Row(shown, goal, passed == len(files)))
    return rows


def run(options: Options) -> Result:
    """Composes, writes, reads again and measures."""
    import jaxmusic

    model = options.model()
    style = model.styles[0] if model.styles else None
    files, seconds = [], []
    count = options.count or SEEDS
    with tempfile.TemporaryDirectory() as folder:
        for seed in tqdm.trange(count, desc="composing", leave=False):
            start = time.perf_counter()
            sequence = model.generate(style=style, duration=DURATION, seed=seed)
            seconds.append(time.perf_counter() - start)
            path = pathlib.Path(folder) / f"{seed}.mid"
            jaxmusic.write(sequence, path)
            files.append(measure(path, DURATION))
    start = time.perf_counter()
    (piece,) = model.compose(style, DURATION, count - 1)
    tokens_per_second = len(piece.tokens) / (time.perf_counter() - start)
    same = len(piece.notes) == files[-1]["mido"]
    return Result(
        columns=("check", "value", "passed"),
        rows=(
            *report(files),
            Row(("the last seed again has as many notes", same, ""), "yes", same),
            Row(("seconds for the first piece, compiling included", round(seconds[0], 1), "")),
            Row(("seconds for a piece (median)", round(float(np.median(seconds)), 1), "")),
            Row(("tokens per second, the last piece again", round(tokens_per_second), "")),
        ),
        notes=(
            f"{count} pieces of {DURATION:g} s, style {style or 'left open'}, seeds 0 to "
            f"{count - 1}, from step {model.step} of the run.",
        ),
    )
