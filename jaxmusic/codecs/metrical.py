"""The default codec: bars and positions, fused notes, and a header of controls.

A stream is ``bos [part] style* [key] [density] meter tempo program* [slot-15 program]``, then bars.
Each ``bar`` token says how many bars are left after it. In a bar come what changes with it
(``meter tempo key section``), then events in the order of position, slot and pitch: ``position``
only when time moves (a bar opens at position 0), ``chord`` on change at a half bar, ``slot`` only
when the instrument is another than that of the last pitched note, ``pitch`` followed by ``note``
(duration and loudness in one), and one ``drum`` token (pitch and loudness) for each hit. A duration
that has no token of its own is a ``hold`` of some half bars followed by a ``note``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmusic import config, grid, meters
from jaxmusic.codecs.base import Codec
from jaxmusic.codecs.layout import (
    BARS_LEFT,
    DEFAULT_STYLES,
    MAX_HOLD,
    MAX_STYLES,
    SECTION_ROOM,
    TASK_ROOM,
    bars_left_index,
)
from jaxmusic.errors import UserError
from jaxmusic.events import Events
from jaxmusic.meters import METERS, TEMPOS
from jaxmusic.notes import CHORD_COUNT, SECTIONS, Notes
from jaxmusic.piece import (
    DENSITIES,
    DRUM_PITCHES,
    DRUM_SLOT,
    PITCHED_SLOTS,
    Losses,
    Piece,
    canonical,
    changes,
)


class MetricalCodec(Codec):
    """Quantised pieces to tokens and back.

    Attributes:
      fused: whether slot and pitch are one token, ``slot * 128 + pitch``.
      durations: int [D], the durations in steps that have a token of their own.
      half: steps that a hold token counts in: half notes.
    """

    KINDS = ("metrical", "fused")
    VERSION = 1

    def __init__(
        self,
        config: config.Codec = config.Codec(),  # noqa: B008
        styles: Sequence[str] = DEFAULT_STYLES,
    ):
        """Lays out the vocabulary for 12 or 24 steps per beat and 8 to 32 levels of loudness."""
        if config.steps_per_beat not in (12, 24):
            raise UserError(f"steps_per_beat must be 12 or 24, not {config.steps_per_beat}")
        if config.velocities not in (8, 16, 32):
            raise UserError(f"velocities must be 8, 16 or 32, not {config.velocities}")
        beat = config.steps_per_beat
        self.fused = config.kind == "fused"
        self.half = 2 * beat
        longer = [beat * halves // 2 for halves in (5, 6, 7, 8, 10, 12, 14, 16)]
        self.durations = np.array([*range(1, self.half + 1), *longer])
        self.duration_index = np.full(self.durations[-1] + 1, -1)
        self.duration_index[self.durations] = np.arange(len(self.durations))
        drums = DRUM_PITCHES[1] - DRUM_PITCHES[0] + 1
        self.longest_bar = max(meters.bar_length(m, beat) for m in range(len(METERS)))
        ranges = [
            *(("pad", 1), ("bos", 1), ("eos", 1), ("part", 1), ("task", TASK_ROOM)),
            *(("style", MAX_STYLES), ("density", DENSITIES), ("meter", len(METERS))),
            *(("tempo", len(TEMPOS)), ("program", 128), ("key", 24)),
            *(("section", SECTION_ROOM), ("chord", CHORD_COUNT), ("bar", len(BARS_LEFT))),
            *(("position", self.longest_bar - 1), ("slot", 16)),
            ("pitch", 128 * (PITCHED_SLOTS if self.fused else 1)),
            *(("hold", MAX_HOLD), ("note", len(self.durations) * config.velocities)),
            ("drum", drums * config.velocities),
        ]
        super().__init__(config, styles, ranges)
        kinds = self.vocabulary.kinds
        self._kind = self.vocabulary.kind.astype(np.int8)
        self._voice = np.isin(self._kind, [kinds[n] for n in ("slot", "pitch", "hold", "note")])
        self._sounding = np.isin(self._kind, [kinds[n] for n in ("pitch", "hold", "note", "drum")])
        self._bar_lengths = np.array([meters.bar_length(m, beat) for m in range(len(METERS))])

    def onsets(self) -> tuple[str, ...]:
        """Kinds of tokens that each stand for exactly one note."""
        return ("pitch", "drum")

    def quantise(self, notes: Notes) -> tuple[Piece, Losses]:
        """Aligned notes on this codec's grid, see `jaxmusic.grid.quantise`."""
        return grid.quantise(notes, self.config.steps_per_beat, self.config.velocities)

    def dequantise(self, piece: Piece) -> Notes:
        """The notes of a piece, see `jaxmusic.grid.dequantise`."""
        return grid.dequantise(piece)

    def header(self, piece: Piece, drop: frozenset[str] = frozenset()) -> list[int]:
        """Tokens before the first bar."""
        start = self.vocabulary.start
        tokens = [start["bos"]]
        if piece.bars_before:
            tokens.append(start["part"])
        if "styles" not in drop:
            tokens += self.style_tokens(piece.styles)
        if "key" not in drop and piece.key[0] >= 0:
            tokens.append(start["key"] + int(piece.key[0]))
        if "density" not in drop and piece.density >= 0:
            tokens.append(start["density"] + piece.density)
        tokens += [start["meter"] + int(piece.meter[0]), start["tempo"] + int(piece.tempo[0])]
        tokens += [start["program"] + int(p) for p in piece.programs[:DRUM_SLOT] if p >= 0]
        if piece.programs[DRUM_SLOT] >= 0:
            kit = start["program"] + int(piece.programs[DRUM_SLOT])
            tokens += [start["slot"] + DRUM_SLOT, kit]
        return tokens

    def encode(self, piece: Piece, drop: frozenset[str] = frozenset()) -> np.ndarray:
        """Tokens of a piece or part of one (int32 [T]); drop names `CONTROLS` to leave out.

        The end token is there only if no bars of the whole piece follow.
        """
        body, _ = self._body(piece, drop)
        end = [self.vocabulary.start["eos"]] if piece.bars_after == 0 else []
        return np.concatenate([self.header(piece, drop), body, end]).astype(np.int32)

    def sizes(self, piece: Piece) -> np.ndarray:
        """Bounds of the number of tokens (int32 [B + 1]): of a header, and of each bar.

        ``encode(piece.part(a, b))`` has at most ``sizes[0] + sizes[1 + a : 1 + b].sum()`` tokens.
        """
        _, times = self._body(piece, frozenset())
        bar = np.searchsorted(piece.bar_step, times, side="right") - 1
        # A part restates section, chord and slot in its first bar.
        header = len(self.header(piece)) + 1 + 3 + 1 + int(piece.key[0] < 0 <= piece.key.max())
        return np.concatenate([[header], np.bincount(bar, minlength=piece.bars)]).astype(np.int32)

    def _body(self, piece: Piece, drop: frozenset[str]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens from the first bar on [T], and the step each stands at [T]."""
        start = self.vocabulary.start
        lines = piece.bar_step[:-1]
        left = np.arange(piece.bars - 1, -1, -1) + piece.bars_after
        parts = [(start["bar"] + bars_left_index(left), lines, 0)]
        for rank, name, values in (
            (1, "meter", piece.meter),
            (2, "tempo", piece.tempo),
            (3, "key", None if "key" in drop else piece.key),
            (4, "section", None if "sections" in drop else piece.section),
        ):
            if values is not None:
                opening = -1 if name == "section" else values[0]
                new = changes(values, opening) & (values >= 0)
                parts.append((start[name] + values[new], lines[new], rank))
        moments = piece.onset[changes(piece.onset, -1)]
        if "chords" not in drop and (piece.chord >= 0).any():
            halves = meters.halves(piece.bar_step)
            new = changes(piece.chord, -1) & (piece.chord >= 0)
            parts.append((start["chord"] + piece.chord[new], halves[new], 6))
            moments = np.union1d(moments, halves[new])
        place = moments - piece.bar_step[np.searchsorted(piece.bar_step, moments, side="right") - 1]
        parts.append(((start["position"] + place - 1)[place > 0], moments[place > 0], 5))
        parts.append((*self._notes(piece), 7))
        tokens = np.concatenate([p[0] for p in parts])
        times = np.concatenate([p[1] for p in parts])
        ranks = np.repeat([p[2] for p in parts], [len(p[0]) for p in parts])
        order = np.argsort(times.astype(np.int64) * 8 + ranks, kind="stable")
        return tokens[order], times[order]

    def _notes(self, piece: Piece) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of the notes alone [T], and the step each stands at [T]."""
        start = self.vocabulary.start
        drum = piece.slot == DRUM_SLOT
        pitch, velocity = piece.pitch.astype(np.int64), piece.velocity.astype(np.int64)
        slot = piece.slot.astype(np.int64)
        named = np.zeros(len(piece), bool)
        pitched = np.flatnonzero(~drum)
        if self.fused:
            pitch = pitch + 128 * slot * ~drum
        else:
            named[pitched] = changes(slot[pitched], -1)
        index = self.duration_index[np.minimum(piece.duration, len(self.duration_index) - 1)]
        short = (index >= 0) & (piece.duration < len(self.duration_index))
        holds = np.where(short | drum, 0, (piece.duration - 1) // self.half)
        base = np.where(short, index, piece.duration - holds * self.half - 1)
        hold_tokens = -(-holds // MAX_HOLD)
        count = np.where(drum, 1, 2 + named + hold_tokens)
        first = np.cumsum(count) - count
        tokens = np.zeros(int(count.sum()), np.int64)
        levels = self.config.velocities
        hit = (pitch - DRUM_PITCHES[0]) * levels + velocity
        tokens[first[drum]] = start["drum"] + hit[drum]
        tokens[first[named]] = start["slot"] + slot[named]
        tokens[(first + named)[~drum]] = start["pitch"] + pitch[~drum]
        last = first + count - 1
        tokens[last[~drum]] = start["note"] + (base * levels + velocity)[~drum]
        one = holds > 0
        tokens[last[one] - 1] = start["hold"] + (holds[one] - 1) % MAX_HOLD
        for i in np.flatnonzero(hold_tokens > 1):
            tokens[last[i] - hold_tokens[i] : last[i] - 1] = start["hold"] + MAX_HOLD - 1
        return tokens, np.repeat(piece.onset, count)

    def events(self, tokens: np.ndarray) -> Events:
        """Event tensors of a stream that opens with a header (see `jaxmusic.events.Events`)."""
        tokens = np.asarray(tokens, np.int32)
        v, count = self.vocabulary, len(tokens)
        # Whole indices and a byte for each kind: several times faster than what they stand for.
        index = tokens.astype(np.intp)
        kind, value = self._kind.take(index), v.value.take(index)
        pitch_token, drum, position, slot_token, program = (
            kind == v.kinds[name] for name in ("pitch", "drum", "position", "slot", "program")
        )
        bars = np.flatnonzero(kind == v.kinds["bar"])
        head = int(bars[0]) if len(bars) else count
        moves = position.copy()
        moves[bars] = True
        moves = np.flatnonzero(moves)
        place = _held(moves, (value[moves] + 1) * position[moves], count, 0)
        # A meter token counts for the bar it stands in; the line of the next bar follows from it.
        meters_at = np.flatnonzero(kind == v.kinds["meter"])
        stated = np.searchsorted(meters_at, bars[1:])
        meter = np.concatenate([[0], value[meters_at]])[stated]
        line = np.concatenate([[0], np.cumsum(self._bar_lengths[meter])])[: len(bars)]
        time = _held(bars, line, count, 0) + place
        time[:head] = 0
        place[:head] = 144
        slot_set = pitch_token if self.fused else slot_token
        set_at = np.flatnonzero(slot_set[head:]) + head
        current = _held(set_at, value[set_at] // 128 if self.fused else value[set_at], count, 16)
        slot = np.where(self._voice.take(index), current, np.int32(16))
        slot[drum] = DRUM_SLOT
        # In the header each program is an instrument: in order, or the drums after slot 15.
        named = np.flatnonzero(program[:head])
        kit = slot_token[named - 1] & (named > 0)
        slot[:head] = 16
        slot[named] = np.where(kit, DRUM_SLOT, np.minimum(np.arange(len(named)), DRUM_SLOT))
        slot[:head][slot_token[:head]] = DRUM_SLOT
        pitches = np.flatnonzero(pitch_token)
        pitch = _held(pitches, value[pitches] % 128, count, 128)
        pitch[~self._sounding.take(index)] = 128
        pitch[drum] = value[drum] // self.config.velocities + DRUM_PITCHES[0]
        bar = _held(bars[1:], np.arange(1, len(bars)), count, 0)
        return Events(token=tokens, time=time, position=place, bar=bar, slot=slot, pitch=pitch)

    def decode(self, tokens: np.ndarray) -> tuple[Piece, int]:
        """The piece that a stream stands for, and the number of tokens that made no sense.

        Never raises: what has no meaning where it stands is left out and counted.
        """
        v = self.vocabulary
        given = np.asarray(tokens, np.int64).ravel()
        tokens = given[(given > 0) & (given < self.vocab_size)].astype(np.int32)
        ends = np.flatnonzero(tokens == v.start["eos"])
        if len(ends):
            tokens = tokens[: ends[0]]
        dropped = int((given != self.PAD).sum()) - len(tokens) - (len(ends) > 0)
        nameless = np.arange(len(SECTIONS), SECTION_ROOM) + v.start["section"]
        named = ~np.isin(tokens, nameless)
        tokens, dropped = tokens[named], dropped + int((~named).sum())
        value, is_a, events = v.value[tokens], self._is(tokens), self.events(tokens)
        bar_line = is_a("bar")
        body = np.cumsum(bar_line) > 0
        header = np.flatnonzero(~body)
        bars = max(int(bar_line.sum()), 1)
        bar = np.maximum(np.cumsum(bar_line) - 1, 0)

        programs = np.full(16, -1, np.int16)
        named = header[is_a("program")[header]]
        programs[events.slot[named]] = value[named]

        def by_bar(name: str, unknown: int) -> np.ndarray:
            """Value of each bar [bars]: the last one stated in it or before it."""
            at = np.flatnonzero(is_a(name))
            out = np.full(bars, -1, np.int64)
            out[bar[at]] = np.arange(len(at))
            out = np.maximum.accumulate(out)
            stated = np.concatenate([value[at], [unknown]])
            return stated[out].astype(np.int16)

        meter, tempo = by_bar("meter", 0), by_bar("tempo", int(np.argmin(abs(TEMPOS - 120))))
        lengths = np.array([meters.bar_length(int(m), self.config.steps_per_beat) for m in meter])
        bar_step = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        inside = body & (events.position < lengths[bar])

        chord = np.full(2 * bars, -1, np.int16)
        at = np.flatnonzero(is_a("chord") & inside)
        late = events.position[at] > 0
        np.put(chord, 2 * bar[at] + late, value[at])
        known = np.maximum.accumulate(np.where(chord >= 0, np.arange(2 * bars), -1))
        chord = np.where(known >= 0, chord[np.maximum(known, 0)], -1).astype(np.int16)

        pitch_token, note, hold, drum = (is_a(n) for n in ("pitch", "note", "hold", "drum"))
        opens = np.maximum.accumulate(np.where(~hold, np.arange(len(tokens)), -1))
        before = np.concatenate([[-1], opens[:-1]])[: len(tokens)]
        legal = note & inside & (before >= 0) & (events.slot < DRUM_SLOT)
        legal &= pitch_token[np.maximum(before, 0)]
        legal &= programs[np.minimum(events.slot, 15)] >= 0
        held = np.cumsum(np.where(hold, value + 1, 0))
        levels = self.config.velocities
        duration = self.durations[np.minimum(value // levels, len(self.durations) - 1)]
        duration = duration + (held - held[np.maximum(before, 0)]) * self.half
        hits = drum & inside & (programs[DRUM_SLOT] >= 0)
        dropped += int((note & ~legal).sum() + (drum & ~hits).sum())
        dropped += int(max(pitch_token.sum() - legal.sum(), 0))
        keep = legal | hits
        columns, duplicates, _ = canonical(
            events.time[keep],
            np.where(drum, 1, duration)[keep],
            events.pitch[keep],
            (value % levels)[keep],
            events.slot[keep],
            int(bar_step[-1]),
        )
        density = header[is_a("density")[header]]
        styles = value[header[is_a("style")[header]]]
        last = value[np.flatnonzero(bar_line)[-1]] if bar_line.any() else 0
        piece = Piece(
            **columns,
            programs=programs,
            bar_step=bar_step,
            meter=meter,
            tempo=tempo,
            key=by_bar("key", -1),
            section=by_bar("section", -1),
            chord=chord,
            styles=self.style_names(styles),
            density=int(value[density[0]]) if len(density) else -1,
            bars_before=int(is_a("part").any()),
            bars_after=0 if len(ends) else int(BARS_LEFT[last]),
            steps_per_beat=self.config.steps_per_beat,
            velocities=levels,
        )
        return piece, dropped + duplicates

    def _is(self, tokens: np.ndarray):
        kinds = self.vocabulary.kind[tokens]
        return lambda name: kinds == self.vocabulary.kinds[name]


def _held(at: np.ndarray, values: np.ndarray, count: int, before: int) -> np.ndarray:
    """Int32 [count]: values[i] from at[i] on, and `before` until at[0]."""
    if not len(at):
        return np.full(count, before, np.int32)
    runs, lengths = np.empty(len(at) + 1, np.int32), np.empty(len(at) + 1, np.int64)
    runs[0], runs[1:] = before, values
    lengths[0], lengths[1:-1], lengths[-1] = at[0], at[1:] - at[:-1], count - at[-1]
    return np.repeat(runs, lengths)
