"""Every default of the library, as frozen dataclasses: an experiment is one `Experiment`."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Prepare:
    """How music files become a dataset."""

    name: str = ""
    """Name of the dataset that is made; empty: that of the named dataset, or music."""
    style: str = ""
    """Style given to every piece, e.g. pop; empty for none."""
    style_from_folders: bool = False
    """Give each piece the name of the top folder it lies in, inside of its source, as a style."""
    labels: str = ""
    """CSV file with the columns path (inside of the source), style (several separated by ;) and
    perhaps song (same song, same split) and split (train, validation or test)."""
    where: str = ""
    """Keep only pieces that match, e.g. "style=pop tempo=90..140 has=drums"; empty keeps all."""
    manual_dir: str = ""
    """Folder that holds a named dataset already; empty: it is downloaded."""
    data_dir: str = "~/jaxmusic/data"
    """Folder that holds the datasets, on local disk or in a bucket (gs://, s3://)."""
    workers: int = 0
    """Worker processes; 0 is one for each core."""
    validation: float = 0.05
    """Share of songs in the validation split."""
    test: float = 0.05
    """Share of songs in the test split."""
    min_notes: int = 32
    """Pieces with fewer notes are skipped."""
    min_seconds: float = 5.0
    """Shorter pieces are skipped."""
    max_seconds: float = 3600.0
    """Longer pieces are skipped."""
    min_pitches: int = 2
    """Pieces with fewer different pitches are skipped; each drum counts as one."""
    max_density: float = 120.0
    """Pieces with more notes a second, on average, are skipped."""
    max_note_seconds: float = 90.0
    """Pieces with a pitched note that lasts longer are skipped: its end got lost."""
    min_track_notes: int = 1
    """Tracks with fewer notes are taken out of a piece."""
    need_drums: bool = False
    """Skip pieces without drums."""
    max_onset_error: float = 0.2
    """Pieces whose onsets lie further, on average, from the even subdivision of the beat that fits
    them best (2, 3, 4, 6 or 12 steps) are skipped; as a share of its step. Notes spread evenly over
    time have 0.25."""
    off_grid: str = "skip"
    """What becomes of such pieces, performed ones for the most part: skip leaves them out, keep
    puts them on the best grid there is and counts them in the summary. The performance codec needs
    no grid."""
    harmony: bool = True
    """Find chords and keys in the notes of pieces that have no labels for them."""
    sustain: bool = False
    """Lengthen notes by the sustain pedal."""
    file_timeout: float = 20.0
    """Seconds after which a file that is still being read is given up."""
    beam_runner: str = ""
    """Apache Beam runner that reads the files, e.g. DirectRunner; empty: worker processes."""


@dataclasses.dataclass(frozen=True)
class Codec:
    """How notes become tokens."""

    steps_per_beat: int = 12
    """Grid steps per quarter note: 12 or 24."""
    velocities: int = 8
    """Number of loudness levels: 8, 16 or 32."""
    kind: str = "metrical"
    """Token language: metrical, fused (metrical with slot and pitch in one token) or
    performance (note-seq's events in steps of 10 ms, for expressive piano)."""


@dataclasses.dataclass(frozen=True)
class Tasks:
    """Chances with which a part of a piece is read as a task, anew in every epoch: what is given
    first, then what is to be written.
    """

    infill: float = 0.0
    """Bars inside of it are written."""
    accompany: float = 0.0
    """Some of its instruments are written, the others and the chords are given."""
    harmonise: float = 0.0
    """Its melody is given, chords and all else are written."""
    vary: float = 0.0
    """Some bars are given, and the chords of all; the other bars are written."""


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads."""

    dataset: str = "pop"
    """Name of a prepared dataset, or several with the weights of their rows: pop=3 folk=1."""
    where: str = ""
    """Which pieces are used, as in style=pop tempo=90..140 has=drums; empty for all. Fields: style,
    tempo, meter, key, bars, seconds, notes, tracks, density (notes per second) and has (drums,
    families and names of instruments)."""
    data_dir: str = Prepare.data_dir
    """Folder that holds the datasets; from a bucket (gs://, s3://) they are copied to this machine
    once."""
    context: int = 1024
    """Tokens in a row."""
    batch: int = 8
    """Rows in a global batch."""
    transpose: int = 5
    """Each piece is moved by up to this many semitones down or up, anew in every epoch."""
    drop_controls: float = 0.1
    """Chance with which each optional control is left out of a piece's header."""
    normalise: bool = False
    """Move every piece whose key is known to C major or A minor; transpose must be 0 then."""
    tempo_scale: float = 0.0
    """Each piece is played up to this share faster or slower, e.g. 0.1, anew in every epoch."""
    velocity_scale: float = 0.0
    """Likewise, how much louder or softer."""
    drop_tracks: float = 0.0
    """Chance with which each track of a piece, or its drums, is left out; never all of them."""
    tasks: Tasks = dataclasses.field(default_factory=Tasks)
    """Tasks that the model learns besides composing and going on."""
    threads: int = 2
    """Reading threads of each host."""
    workers: int = 0
    """Reading processes of each host instead, for more tokens per second than one core makes."""


@dataclasses.dataclass(frozen=True)
class Model:
    """Shape of the Transformer."""

    layers: int = 6
    """Number of layers."""
    width: int = 256
    """Width of the residual stream."""
    heads: int = 4
    """Query heads."""
    kv_heads: int = 4
    """Key and value heads; divides heads."""
    head_dim: int = 64
    """Width of one head."""
    hidden: int = 768
    """Width of the SwiGLU layer."""
    dropout: float = 0.0
    """Share of activations dropped in training."""
    dtype: str = "float32"
    """Type of activations: float32 or bfloat16. Parameters are float32."""
    attention: str = "auto"
    """Attention kernel: auto (by platform), splash (TPU), flash (GPU), chunked (any) or plain (one
    dense mask)."""
    remat: str = "products"
    """What a layer keeps for the backward pass: products (what its matrix products and attention
    made), attention (what attention made) or nothing (its input alone). The less, the more is
    computed again, in less memory."""
    rotary: str = "index time"
    """What queries and keys are turned by: any of index, time (musical, in grid steps) and pitch;
    they share the width of a head."""
    softcap: float = 0.0
    """Logits stay within this of 0, bent by a tanh; 0 leaves them as they are."""


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How gradients become updates."""

    name: str = "adamw"
    """adamw, or muon for the matrices of the layers and AdamW for all else."""
    schedule: str = "cosine"
    """How the learning rate falls after the warm-up: cosine, or wsd (it stays, and falls at the
    end)."""
    decay: float = 0.2
    """Share of the steps in which wsd falls."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    final: float = 0.1
    """Last learning rate as a share of the peak."""
    warmup: int = 100
    """Steps of linear warm-up."""
    b1: float = 0.9
    """Decay of the first moment."""
    b2: float = 0.98
    """Decay of the second moment."""
    weight_decay: float = 0.1
    """Decoupled weight decay of matrices."""
    clip: float = 1.0
    """Largest global gradient norm."""
    spike: float = 0.0
    """Updates are left out whose loss or gradient norm lies more than this many standard deviations
    above its running mean, e.g. 6; 0 leaves out only what is not finite."""
    patience: int = 20
    """Updates left out in a row after which a run gives up."""
    ema: float = 0.0
    """Decay of a running average of the weights, e.g. 0.999, which is validated and saved beside
    them and composes in their place; 0 for none."""


@dataclasses.dataclass(frozen=True)
class Mesh:
    """Devices along each axis of the mesh; -1 takes the rest."""

    replica: int = 1
    """Data parallel copies; with several slices of TPUs a multiple of their number."""
    fsdp: int = -1
    """Data parallel with parameters sharded."""
    context: int = 1
    """Tokens of a row sharded."""
    tensor: int = 1
    """Heads and hidden units sharded."""


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Patience of the processes of a run with one another."""

    start: float = 300.0
    """Seconds in which all of them must come; longer than a machine takes to come back."""
    lost: float = 15.0
    """Seconds without a sign of life after which a process counts as lost."""


@dataclasses.dataclass(frozen=True)
class Samples:
    """Short pieces that a run composes with the weights of the moment; see docs/watching.md."""

    every: int = 0
    """Steps from one time to the next, and once more after the last step; 0 for never."""
    pieces: int = 3
    """Pieces each time, always drawn with the same random numbers."""
    seconds: float = 30.0
    """Length of each piece."""
    statistics: str = (
        "pitch_class_entropy scale_consistency polyphony notes_per_quarter groove_consistency "
        "bar_similarity_4"
    )
    """Statistics of the pieces, and of pieces of the validation split, that are recorded: names of
    numbers in docs/evaluation.md, separated by spaces."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything a training run is made of."""

    data: Data = dataclasses.field(default_factory=Data)
    codec: Codec = dataclasses.field(default_factory=Codec)
    model: Model = dataclasses.field(default_factory=Model)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    mesh: Mesh = dataclasses.field(default_factory=Mesh)
    hosts: Hosts = dataclasses.field(default_factory=Hosts)
    samples: Samples = dataclasses.field(default_factory=Samples)
    steps: int = 2000
    """Optimizer steps."""
    accumulate: int = 1
    """Parts into which each batch is divided, one after another: with more parts a step needs less
    memory and computes the same, but for rounding."""
    z_loss: float = 0.0
    """Weight of the squared logarithm of the softmax's normaliser in the loss, e.g. 1e-4."""
    seed: int = 0
    """Seeds the parameters, the order of the data and its augmentation."""
    eval_every: int = 250
    """Steps between validation losses."""
    eval_batches: int = 16
    """Batches of validation data at each interval; the last validation uses all of them."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    keep: int = 2
    """Latest checkpoints kept; the first, and the best by validation loss, are kept besides."""
    keep_every: int = 0
    """Checkpoints of multiples of this many steps are kept as well; 0 for none."""
    watchdog: float = 600.0
    """Seconds without progress after which a run says where it stands still and ends, to be started
    again; 0 waits for ever."""
    profile: str = ""
    """Steps of which a profile is written, as in 20-24."""
    log_every: int = 10
    """Steps between lines of the log."""
    trackers: str = "tensorboard"
    """Where the figures go besides the log, several separated by spaces; see docs/watching.md."""
    hooks: str = "samples"
    """What looks at the weights now and then, several separated by spaces; see docs/watching.md."""
    resume_from: str = ""
    """Run whose whole state (weights, optimiser, step) a new run goes on from, e.g. to more
    steps."""
    init_from: str = ""
    """Run, or file that jaxmusic export wrote, whose weights a new run starts from."""


@dataclasses.dataclass(frozen=True)
class Controls:
    """What a piece shall be like. What is left empty is left to the model."""

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
    """Pieces of the reference, at most; of more, so many are drawn."""
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
    """Refuse pieces that share a passage of so many telling notes or more with any piece of the
    training music, and compose again; 0 does not look. Different songs hardly ever share 28."""
    data_dir: str = ""
    """Folder that holds the training music to look at; empty for the one that the model was
    trained from."""
