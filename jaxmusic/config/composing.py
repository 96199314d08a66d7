"""Settings of controls, sampling, evaluation and output."""

from __future__ import annotations

import dataclasses

from jaxmusic.config.fields import COUNT, MANY, SEED, WORKERS, Settings, listed, number


@dataclasses.dataclass(frozen=True)
class Controls(Settings):
    """Controls of a piece; the model chooses those left empty."""

    style: str = ""
    """Style that the model was trained on, or a weighted mix: pop=3 jazz=1. In a mix, - stands for
    spaces: slip-jig."""
    duration: str | float = number("", "(0, inf)")
    """Length: 3:00, 180 (seconds) or 90 bars; empty: length of the form, else 3:00."""
    key: str = ""
    """Key, such as C, Bb major, F# minor or Am."""
    tempo: float = number(0.0, "[0, 1000]")
    """Quarter notes per minute; 0 leaves it to the model."""
    meter: str = ""
    """Meter, such as 4/4, 3/4 or 6/8."""
    density: float = number(0.0, "[0, 100]")
    """Notes per quarter note of all instruments together; 0 leaves it to the model."""
    instruments: str = listed(", ")
    """General MIDI instruments or families and drums, separated by commas: piano, 2 violins,
    drums. No others play. "no drums" alone leaves out only the drums. A role may follow: flute as
    melody, piano as chords."""
    strict_instruments: bool = False
    """Refuse instruments that the model has hardly heard in training, instead of warning."""
    chords: str = listed(" ")
    """Progression, repeated to the end, with one bar per chord: C G/B Am F. Between bar lines a
    bar holds one chord or two: C | G Am | F. N.C. means no chord; without a slash the model chooses
    the bass."""
    form: str = listed(" ")
    """Sections, or letters of phrases that return, each with its number of bars: intro4 verse8
    chorus8 outro4, or intro4 A8 B8 A8 outro4."""
    energy: str = listed(" ")
    """Energy of each section of the form, from 1 (calm) to 8 (full): 2 4 7 3."""
    guidance: float = number(1.0, "[1, 10]")
    """Strength of style, key, density, roles, chords, form and energy: 1 samples as trained;
    larger values (e.g. 2) follow them more closely, at twice the work."""
    strict: bool = False
    """Mask notes that violate key, chords or density."""
    ending: bool = True
    """End the piece with the tonic chord, held to the end; otherwise the model chooses the
    ending."""
    seed: int | None = number(None, SEED)
    """Random seed; the same seed gives the same piece on the same device. Without one a fresh seed
    is drawn and printed."""


@dataclasses.dataclass(frozen=True)
class Evaluation(Settings):
    """Settings of measuring a model or a set of songs."""

    pieces: int = number(20, MANY)
    """Pieces composed with no control but their length."""
    duration: str = ""
    """Length of each piece, as in 3:00; empty: lengths of real pieces, from short to long."""
    requests: int = number(10, COUNT)
    """Pieces composed with controls taken from held-out songs; 0 for none."""
    request_duration: str = "1:00"
    """Length of each piece with controls."""
    split: str = ""
    """Held-out split for likelihood, controls and originality: validation or test; empty:
    validation, or with --data every split that the dataset has."""
    most: int = number(1000, MANY)
    """Maximum reference pieces, or pieces of each split of --data; larger sets are subsampled."""
    shown: int = number(3, COUNT)
    """Pieces of each set to plot."""
    shown_bars: int = number(24, MANY)
    """Bars shown in each piano roll."""
    seed: int = number(0, SEED)
    """Seed of composing and of random choices."""
    step: int = number(-1, "[-1, 2147483647]")
    """Training step of the checkpoint; -1 is the one with the best validation loss."""
    workers: int = number(0, WORKERS)
    """Worker processes that read files; 0 is one per core."""
    file_timeout: float = number(60.0, "(0, 1000000]")
    """Seconds after which a file that is being read and measured is skipped."""


@dataclasses.dataclass(frozen=True)
class Sampling(Settings):
    """Settings of sampling the next token."""

    temperature: float = number(1.0, "[0, 10]")
    """Divisor of the logits; 0 takes the likeliest token."""
    top_k: int = number(0, COUNT)
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: float = number(0.98, "(0, 1]")
    """Keep the likeliest tokens that together have this probability."""
    min_p: float = number(0.0, "[0, 1)")
    """Keep tokens with at least this share of the likeliest token's probability."""
    temperatures: str = ""
    """Temperatures for some kinds of tokens, as in "pitch=1.1 drums=0.8": rhythm, pitch, length,
    drums, chords, instruments and loudness. The kind of the next token is still sampled at the
    general temperature."""
    repeats: int = number(8, COUNT)
    """Maximum number of bars in a row with the same onsets; 0 for no limit. The performance codec
    has no bars and no limit."""
    best_of: int = number(1, "[1, 10000]")
    """Candidates per piece; the one with the highest likelihood per note is kept."""


@dataclasses.dataclass(frozen=True)
class Output(Settings):
    """Settings of the checkpoint, the number of pieces and the output files."""

    out: str = "song.mid"
    """MIDI or MusicXML file to write; with several pieces, song-1.mid, song-2.mid and so on."""
    force: bool = False
    """Replace the given piece if the output is the same file."""
    count: int = number(1, "[1, 1000000]")
    """Pieces to compose."""
    wav: str = ""
    """Also render audio to this file."""
    png: str = ""
    """Also draw the piano roll to this file."""
    step: int = number(-1, "[-1, 2147483647]")
    """Training step of the checkpoint; -1 is the one with the best validation loss."""
    originality: int = number(0, COUNT)
    """Discard pieces that share a passage of this many telling notes (notes weighted by surprise)
    or more with the training music, and compose again; 0 switches the search off. Different songs
    rarely share 28."""
    data_dir: str = ""
    """Folder of the training music to search; empty: the folder used in training."""
