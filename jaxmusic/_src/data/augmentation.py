"""Augmentation: changes of a piece, drawn in every epoch.

A piece is moved by semitones (drums stay; key and chords move along), played faster or slower,
louder or softer, some of its tracks are left out, and some controls of its header. Tempo, loudness
and tracks are changed in the notes, before any codec sees them; a codec's pieces move by semitones.

The order of tracks is not permuted. Codecs put instruments in an order of their own, so this would
only swap tracks of the same program, such as the melody and the accompaniment of a piano, whose
order is worth knowing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music import controls
from jaxmusic._src.music.notes import Notes
from jaxmusic.config import Data

_NAMES = controls.names()


class Change(NamedTuple):
    """What is done to a piece.

    Attributes:
      semitones: how far it is moved.
      drop: names of controls that are left out.
      tempo: its tempos are multiplied by this.
      velocity: its velocities are multiplied by this.
      tracks: bool [T], the tracks that stay; None where all do.
    """

    semitones: int = 0
    drop: frozenset[str] = frozenset()
    tempo: float = 1.0
    velocity: float = 1.0
    tracks: np.ndarray | None = None


UNCHANGED = Change()


def generator(seed: int, epoch: int, item: int, part: int = 0) -> np.random.Generator:
    """Makes a generator that depends only on four keys (Philox; Salmon et al., 2011)."""
    mask = 2**64 - 1
    key = ((seed & mask) << 64) | ((epoch & 0xFFFFFFFF) << 32 | (item & 0xFFFFFFFF))
    return np.random.Generator(np.random.Philox(key=key, counter=part << 192))


def check(data: Data) -> None:
    """Raises UserError where the settings of augmentation make no sense."""
    if data.normalise and data.transpose:
        raise UserError(
            "Set data.transpose to 0 with data.normalise: either all pieces are in one key, or "
            "each is in many."
        )


def alters_notes(data: Data) -> bool:
    """Tells whether notes are changed before a codec quantises them."""
    return data.tempo_scale > 0 or data.velocity_scale > 0 or data.drop_tracks > 0


def draw(
    data: Data,
    seed: int,
    epoch: int,
    item: int,
    pitch: np.ndarray,
    track: np.ndarray | None = None,
) -> Change:
    """Draws the change of one piece in one epoch.

    All transpositions in reach are equally likely: up to `data.transpose` semitones down or up, as
    far as no pitched note leaves 0-127. Factors are even on a logarithmic scale. At least one track
    that has notes stays.

    Args:
      data: how much is changed.
      seed: key of the draw.
      epoch: likewise.
      item: likewise, the number of the piece.
      pitch: pitches of its notes that are no drum hits, [N].
      track: track of each of its notes, where `alters_notes`.
    """
    rng = generator(seed, epoch, item)
    chance, left_out = rng.random(), rng.random(len(_NAMES)) < data.drop_controls
    low = high = 0
    if data.transpose and len(pitch):
        low = max(-data.transpose, -int(pitch.min()))
        high = min(data.transpose, 127 - int(pitch.max()))
    semitones = low + int(chance * (high - low + 1))
    drop = frozenset(c for c, out in zip(_NAMES, left_out) if out)
    if track is None:
        return Change(semitones, drop)
    tempo, velocity = (
        float((1 + scale) ** rng.uniform(-1, 1))
        for scale in (data.tempo_scale, data.velocity_scale)
    )
    tracks = None
    if data.drop_tracks:
        count = np.bincount(track)
        fate = np.where(count > 0, rng.random(len(count)), -1.0)
        tracks = fate >= min(data.drop_tracks, fate.max(initial=0.0))
    return Change(semitones, drop, tempo, velocity, tracks)


def alter(notes: Notes, change: Change) -> Notes:
    """Changes tempo, loudness and tracks of notes."""
    if change.tracks is not None and not change.tracks.all():
        stays = change.tracks[notes.track]
        columns = ("onset", "duration", "pitch", "velocity", "track")
        notes = notes.replace(**{name: getattr(notes, name)[stays] for name in columns})
    velocity = np.rint(notes.velocity * np.float32(change.velocity))
    return notes.replace(
        velocity=np.clip(velocity, 1, 127).astype(np.uint8),
        tempo_qpm=notes.tempo_qpm * change.tempo,
    )
