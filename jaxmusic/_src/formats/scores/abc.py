"""ABC, the text notation of folk tunes, by abc2midi, the program that symusic brings along.

abc2midi knows the many dialects of ABC and plays repeats, parts and voices, but its MIDI files keep
neither bar lines nor chord symbols. So each tune is played twice: once for its notes, and once with
a controller in the place of every bar line, chord symbol and key. For these the second time is
without ties and rests, through which abc2midi's clock stands still: the ties are left out, and for
each rest there is a note. Both times take the same time to the tick.

The language is described in the ABC standard 2.1 (abcnotation.com).
"""

from __future__ import annotations

import itertools
import os
import pathlib
import re
import subprocess
import tempfile
from typing import Any

import numpy as np

from jaxmusic._src.core.errors import NoNotes, UserError
from jaxmusic._src.formats import midi
from jaxmusic._src.formats.scores.bars import meters_of
from jaxmusic._src.formats.scores.words import abc_key, chord_of, labels, song_title
from jaxmusic._src.music.notes import NO_CHORD, Notes, make_notes

_SECONDS = 10.0  # a tune takes milliseconds
_CHORD, _BAR, _KEY = 110, 111, 112  # controllers that no instrument listens to
_NO_CHORD = 127  # the greatest value of a controller stands for no chord
# Grace notes, guitar chords and fermatas are not played, and messages are few.
_OPTIONS = ("-NGRA", "-NGUI", "-NFER", "-silent")
# All notes are as loud as the dynamics say, begin together, and last as long as they are written.
_PLAIN = "[I:MIDI beat 80 80 80 1][I:MIDI nobeataccents][I:MIDI chordattack 0]"
_LATE = 1  # ticks that abc2midi begins every note late
_FROM_THE_FILE = "LMQ"  # fields before the first tune that hold for all tunes
_KEPT = re.compile(r"!([pf]{1,4}|mp|mf|segno|coda|fine|D\.C\.|D\.S\.|da(capo|coda))!", re.I)

_TOKEN = re.compile(
    r"""(?P<quoted>"[^"]*"?)            # chord symbol or remark
    |(?P<field>\[[A-Za-z]:[^\]]*\]?)    # inline field
    |(?P<sign>![^!|]*!)                 # dynamics, ornaments
    |(?P<grace>\{[^}]*\})
    |(?P<bar>:*\|[|\]:]*|\[\||::+)
    |(?P<chord>\[(?=[^|\d\s"]|"))       # notes that begin together
    |(?P<close>\])
    |(?P<tie>-)
    |(?P<ornament>[~.H-Wh-w])
    |(?P<rest>[zx])
    |(?P<other>.)""",
    re.X,
)


def split(text: str) -> list[str]:
    """The tunes of a book, each from its field X on and with the fields that hold for all."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    head, *tunes = re.split(r"^(?=X:)", text, flags=re.M)
    if not tunes and re.search(r"^K:", head, re.M):
        return ["X:1\n" + head]
    shared = "".join(
        line + "\n" for line in head.split("\n") if re.match(f"[{_FROM_THE_FILE}]:", line)
    )
    whole = [tune for tune in tunes if re.search(r"^K:|\[K:", tune, re.M)]
    return [re.sub(r"^X:.*\n", lambda m: m[0] + shared, tune, count=1) for tune in whole]


def parse(tune: str) -> Notes:
    """The notes of one tune, see `formats.scores.score.read_notes`.

    Raises:
      UserError: it cannot be read; the message lacks the subject, the file.
    """
    score = _play(_plain(tune, marks=False))
    marks = _play(_plain(tune, marks=True))
    tracks = [track for track in score.tracks if len(track.notes)]
    if not tracks:
        raise NoNotes("holds no notes: leave it out.")
    onset, duration, pitch, velocity, track = midi.columns(tracks)
    late = np.minimum(onset, _LATE)
    chords, bars, keys = (_marks(marks, control) for control in (_CHORD, _BAR, _KEY))
    harmony = [(tick, NO_CHORD if value == _NO_CHORD else value, 0) for tick, value in chords]
    end = max([int((onset + duration).max()), *(tick for tick, _ in bars)])
    title = re.search(r"^T:(.*)$", tune, re.M)
    return make_notes(
        onset - late,
        duration + late,
        pitch,
        velocity,
        track,
        program=[track.program for track in tracks],
        drum=[track.is_drum for track in tracks],
        tempos=midi.tempos(score),
        meters=_meters(score, sorted({0, *(tick for tick, _ in bars), end})),
        end=end,
        ticks_per_beat=score.tpq,
        labels=labels(song_title(_uncommented(title[1]) if title else ""), keys, harmony),
    )


def _plain(tune: str, marks: bool) -> str:
    """A tune without what changes how long its notes are; with marks instead of ties if asked."""
    out: list[str] = []
    body = False
    for line in tune.split("\n"):
        if line.startswith("%%"):
            out.append(line)
            continue
        whole, line = line, _uncommented(line)
        if whole.strip() and not line.strip():
            continue  # an empty line would end the tune
        field = re.match(r"([A-Za-z]):(?![|:])(.*)", line)  # and not a note before a bar line
        if field and field[1] == "K":
            # Clefs and the like stay: abc2midi transposes by them.
            out.append(line)
            out += [] if body else [_PLAIN]
            # A field that names no key leaves none, and an empty line would end the tune.
            out += [mark for mark in (_key(field[2]),) if marks and mark]
            body = True
        elif field and field[1] == "Q" and field[2].strip().isdigit():
            out.append(f"Q:{_unit(tune)}={field[2].strip()}")
        elif field and field[1] == "V" and body:
            out += [line, _PLAIN]
        elif field:
            # A hornpipe would be swung. Words are of no use here.
            out += [] if field[1] in "RwW" else [line]
        elif body:
            out.append(_music(line, marks))
    return "\n".join(out) + "\n"


def _unit(tune: str) -> str:
    """The length of a note without a number: field L, or by the meter."""
    if found := re.search(r"^L:\s*(\d+/\d+)", tune, re.M):
        return found[1]
    meter = re.search(r"^M:\s*(\d+)/(\d+)", tune, re.M)
    return "1/16" if meter and int(meter[1]) / max(int(meter[2]), 1) < 0.75 else "1/8"


def _uncommented(line: str) -> str:
    return re.sub(r"(?<!\\)%.*", "", line)


def _music(line: str, marks: bool) -> str:
    """A line of music, token by token."""
    out: list[str] = []
    together = False
    for match in _TOKEN.finditer(line):
        kind, text = match.lastgroup, match[0]
        if kind == "quoted":
            number = chord_of(text.strip('"'))
            if marks and number is not None and not together:
                out.append(_mark(_CHORD, min(number, _NO_CHORD)))
        elif kind == "field":
            out.append(text)
            if text[1] == "K" and marks:
                out.append(_key(text[3:]))
            elif text[1] == "V":
                out.append(_PLAIN)
        elif kind == "sign":
            out += [text] if _KEPT.fullmatch(text) else []
        elif kind == "bar":
            out += [_mark(_BAR, 0), text] if marks else [text]
        elif kind == "tie":
            out += [] if marks else [text]
        elif kind == "rest":
            out += ["C" if marks else text]
        elif kind not in ("grace", "ornament"):
            together = kind == "chord" or (together and kind != "close")
            out.append(text)
    return "".join(out)


def _mark(control: int, value: int) -> str:
    return f"[I:MIDI control {control} {value}]"


def _key(text: str) -> str:
    key = abc_key(text)
    return "" if key is None else _mark(_KEY, key)


def _play(tune: str) -> Any:
    """What abc2midi makes of a tune, as symusic's score."""
    import symusic

    # Importing symusic says where its programs are.
    program = os.environ["SYMUSIC_ABC2MIDI"]
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "tune.abc"), pathlib.Path(folder, "tune.mid")
        source.write_text(tune, "utf-8", "surrogateescape")
        command = [program, source.name, *_OPTIONS, "-o", target.name]
        quiet = subprocess.DEVNULL
        try:
            subprocess.run(
                command, cwd=folder, stdin=quiet, stdout=quiet, stderr=quiet, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(f"takes more than {_SECONDS:g} s to read: leave it out.") from error
        except OSError as error:
            raise UserError(
                f"cannot be read, because abc2midi does not start ({error.strerror}): "
                "install symusic again."
            ) from error
        try:
            return symusic.Score.from_midi(target.read_bytes())
        except (OSError, RuntimeError, ValueError, IndexError, OverflowError) as error:
            raise UserError("is not ABC that abc2midi can read: check its notation.") from error


def _marks(score: Any, control: int) -> list[tuple[int, int]]:
    """(tick, value) of one controller in the first voice that has it where its music is."""
    for track in score.tracks:
        rows = midi.rows(track.controls, "number", "value")
        pairs = [(tick, value) for tick, number, value in rows if number == control]
        if len(track.notes) and pairs:
            return pairs
    return []


def _meters(score: Any, lines: list[int]) -> tuple[tuple[int, int, int], ...]:
    """Meters of the bars between these lines."""
    stated, bars = midi.meters(score), []
    for start, stop in itertools.pairwise(lines):
        meter = next(((n, d) for t, n, d in reversed(stated) if t <= start), (4, 4))
        bars.append((stop - start, *meter))
    return meters_of(bars)
