"""What is asked for, how it is drawn and measured, and where it is written."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Controls:
    """Controls of a piece; the model decides whatever is left empty."""

    style: str = ""
    """A style that the model was trained on, or a mix with weights: pop=3 jazz=1."""
    duration: str | float = ""
    """Length: 3:00, 180 (seconds) or 90 bars; empty is that of the form, or else 3:00."""
    key: str = ""
    """Such as C, Bb major, F# minor or Am."""
    tempo: float = 0.0
    """Quarter notes per minute; 0 leaves it to the model."""
    meter: str = ""
    """Such as 4/4, 3/4 or 6/8."""
    density: float = 0.0
    """Notes per quarter note, those of all instruments together; 0 leaves it to the model."""
    instruments: str = ""
    """Names of General MIDI instruments or families and drums, with commas: piano, 2 violins,
    drums. These play and no others. "no drums" alone leaves out the drums."""
    chords: str = ""
    """A progression that is repeated to the end, a bar for each chord: C G/B Am F. Between bar
    lines a bar holds one chord or two: C | G Am | F. N.C. is none; a bass after a slash is left to
    the model."""
    form: str = ""
    """Sections with their numbers of bars: intro4 verse8 chorus8 outro4."""
    guidance: float = 1.0
    """How far to go towards style, key, density, chords and form: 1 samples as was learned, more
    (e.g. 2) does away with what is as likely without them, at twice the work."""
    strict: bool = False
    """Allow only notes that keep key, chords and density."""
    ending: bool = True
    """Bring the last bar to rest: its last notes are those of the tonic chord and are held to the
    end. Otherwise the model ends the piece as it likes."""
    seed: int = 0
    """The same seed gives the same piece on the same device."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How a model, or a set of songs, is measured."""

    pieces: int = 20
    """Pieces that the model composes, of which nothing is asked but their length."""
    duration: str = ""
    """Length of each of them, as in 3:00; empty: lengths of real pieces, from short ones to long
    ones."""
    wishes: int = 10
    """Pieces that are composed with what as many held-out songs would ask for; 0 for none."""
    wish_duration: str = "1:00"
    """Length of each of these."""
    split: str = "validation"
    """Held-out pieces by which likelihood, wishes and originality are measured: validation or
    test."""
    most: int = 1000
    """Maximum reference pieces; larger sets are subsampled."""
    shown: int = 3
    """Pieces of each set that are drawn."""
    shown_bars: int = 24
    """Their first bars, in piano rolls."""
    seed: int = 0
    """Seeds all that is composed or drawn by chance."""
    step: int = -1
    """Training step of the checkpoint; -1 is the one with the best validation loss."""
    workers: int = 0
    """Processes that read files; 0 is one for each core."""
    file_timeout: float = 60.0
    """Seconds after which a file that is still being read and measured is given up."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is drawn."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the likeliest token."""
    top_k: int = 0
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: float = 0.98
    """Keep the likeliest tokens that together have this probability."""
    min_p: float = 0.0
    """Keep tokens with at least this share of the likeliest token's probability."""
    temperatures: str = ""
    """Temperatures of their own for some kinds of choice, as in "pitch=1.1 drums=0.8", of rhythm,
    pitch, length, drums, chords, instruments and loudness. Which kind comes next is still drawn at
    the temperature above."""
    repeats: int = 8
    """No more than this many bars in a row with the same onsets; 0 allows any number. The
    performance codec has no bars, and nothing is held back there."""
    best_of: int = 1
    """Candidates for each piece, of which the one that the model finds likeliest, per note, is
    kept."""


@dataclasses.dataclass(frozen=True)
class Output:
    """Which checkpoint composes, how many pieces, and where they are written."""

    out: str = "song.mid"
    """MIDI or MusicXML file to write; with several pieces, song-1.mid, song-2.mid and so on."""
    count: int = 1
    """Pieces to compose."""
    wav: str = ""
    """Also render the sound to this file."""
    png: str = ""
    """Also draw the piano roll to this file."""
    step: int = -1
    """Training step of the checkpoint; -1 is the one with the best validation loss."""
    originality: int = 0
    """Refuse pieces that share a passage of this many telling notes or more with any piece of the
    training music, and compose again; 0 does not look. Different songs hardly ever share 28."""
    data_dir: str = ""
    """Folder that holds the training music to look at; empty for the one that the model was
    trained from."""
