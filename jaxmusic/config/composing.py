"""Controls, sampling, evaluation and output of pieces."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Controls:
    """Controls of a piece; the model chooses empty ones."""

    style: str = ""
    """A style that the model was trained on, or a mix with weights: pop=3 jazz=1."""
    duration: str | float = ""
    """Length: 3:00, 180 (seconds) or 90 bars; empty: that of the form, else 3:00."""
    key: str = ""
    """Such as C, Bb major, F# minor or Am."""
    tempo: float = 0.0
    """Quarter notes per minute; 0 leaves it to the model."""
    meter: str = ""
    """Such as 4/4, 3/4 or 6/8."""
    density: float = 0.0
    """Notes per quarter note of all instruments together; 0 leaves it to the model."""
    instruments: str = ""
    """Names of General MIDI instruments or families and drums, with commas: piano, 2 violins,
    drums. No others play. "no drums" alone leaves out the drums. A role may follow: flute as
    melody, piano as chords."""
    chords: str = ""
    """A progression that is repeated to the end, a bar for each chord: C G/B Am F. Between bar
    lines a bar holds one chord or two: C | G Am | F. N.C. is none; without a slash the bass is left
    to the model."""
    form: str = ""
    """Sections with their numbers of bars, or letters of phrases that come back: intro4 verse8
    chorus8 outro4, or intro4 A8 B8 A8 outro4."""
    energy: str = ""
    """Levels of energy, 1 (calm) to 8 (full), of the sections of the form: 2 4 7 3."""
    guidance: float = 1.0
    """Strength of style, key, density, roles, chords, form and energy: 1 samples as trained, more
    (e.g. 2) favours what is likelier with them than without, at twice the work."""
    strict: bool = False
    """Mask notes that break key, chords or density."""
    ending: bool = True
    """Close the piece: its last notes are those of the tonic chord, held to the end. Otherwise the
    model ends it."""
    seed: int = 0
    """The same seed gives the same piece on the same device."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How a model or a set of songs is measured."""

    pieces: int = 20
    """Pieces composed with no control except their length."""
    duration: str = ""
    """Length of each of them, as in 3:00; empty: lengths of real pieces, from short to long."""
    wishes: int = 10
    """Pieces composed with controls taken from held-out songs; 0 for none."""
    wish_duration: str = "1:00"
    """Length of each of these."""
    split: str = "validation"
    """Held-out pieces that likelihood, wishes and originality use: validation or test."""
    most: int = 1000
    """Maximum reference pieces; larger sets are subsampled."""
    shown: int = 3
    """Pieces of each set to plot."""
    shown_bars: int = 24
    """Bars of their piano rolls."""
    seed: int = 0
    """Seed of composing and of random choices."""
    step: int = -1
    """Training step of the checkpoint; -1 is the one with the best validation loss."""
    workers: int = 0
    """Processes that read files; 0 is one for each core."""
    file_timeout: float = 60.0
    """Seconds after which reading and measuring a file is given up."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is sampled."""

    temperature: float = 1.0
    """Divisor of the logits; 0 takes the likeliest token."""
    top_k: int = 0
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: float = 0.98
    """Keep the likeliest tokens that together have this probability."""
    min_p: float = 0.0
    """Keep tokens with at least this share of the likeliest token's probability."""
    temperatures: str = ""
    """Temperatures for some kinds of choice, as in "pitch=1.1 drums=0.8": rhythm, pitch, length,
    drums, chords, instruments and loudness. The kind of the next token is still sampled at the
    temperature above."""
    repeats: int = 8
    """Most bars in a row with the same onsets; 0 allows any number. The performance codec has no
    bars and no limit."""
    best_of: int = 1
    """Candidates for each piece; the one with the highest likelihood per note is kept."""


@dataclasses.dataclass(frozen=True)
class Output:
    """Checkpoint, number of pieces and output files."""

    out: str = "song.mid"
    """MIDI or MusicXML file to write; with several pieces, song-1.mid, song-2.mid and so on."""
    count: int = 1
    """Pieces to compose."""
    wav: str = ""
    """Also render audio to this file."""
    png: str = ""
    """Also draw the piano roll to this file."""
    step: int = -1
    """Training step of the checkpoint; -1 is the one with the best validation loss."""
    originality: int = 0
    """Refuse pieces that share a passage of this many telling notes or more with any piece of the
    training music, and compose again; 0 does not search. Different songs rarely share 28."""
    data_dir: str = ""
    """Folder of the training music to search; empty: that of the model's training."""
