"""What a training run is made of: an experiment is one `Experiment`."""

from __future__ import annotations

import dataclasses

from jaxmusic.config.fields import local, resumable, resumable_group
from jaxmusic.config.models import Model, Transformer
from jaxmusic.config.objectives import Adapter, CrossEntropy, Full, Objective
from jaxmusic.config.preparing import Prepare


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
    """Chances that a segment of a piece is read as a task, drawn in every epoch: what is given
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
    data_dir: str = local(Prepare.data_dir)
    """Folder that holds the datasets; from a bucket (gs://, s3://) they are copied to this machine
    once."""
    context: int = 1024
    """Tokens in a row."""
    batch: int = 8
    """Rows in a global batch."""
    transpose: int = 5
    """Each piece is moved by up to this many semitones down or up, drawn in every epoch."""
    drop_controls: float = 0.1
    """Chance with which each optional control is left out of a piece's header."""
    normalise: bool = False
    """Move every piece whose key is known to C major or A minor; transpose must be 0 then."""
    tempo_scale: float = 0.0
    """Each piece is played up to this share faster or slower, e.g. 0.1, drawn in every epoch."""
    velocity_scale: float = 0.0
    """Likewise, how much louder or softer."""
    drop_tracks: float = 0.0
    """Chance with which each track of a piece, or its drums, is left out; never all of them."""
    tasks: Tasks = dataclasses.field(default_factory=Tasks)
    """Tasks that the model learns besides composing and going on."""
    threads: int = local(2)
    """Reading threads of each host."""
    workers: int = local(0)
    """Reading processes of each host instead, for more tokens per second than one core makes."""


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
    patience: int = resumable(20)
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
    model: Model = dataclasses.field(default_factory=Transformer)
    objective: Objective = dataclasses.field(default_factory=CrossEntropy)
    adapter: Adapter = dataclasses.field(default_factory=Full)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    mesh: Mesh = resumable_group(Mesh)  # noqa: RUF009
    hosts: Hosts = resumable_group(Hosts)  # noqa: RUF009
    samples: Samples = resumable_group(Samples)  # noqa: RUF009
    steps: int = 2000
    """Optimizer steps."""
    accumulate: int = resumable(1)
    """Parts into which each batch is divided, one after another: with more parts a step needs less
    memory and computes the same, up to rounding."""
    seed: int = 0
    """Seeds the parameters, the order of the data and its augmentation."""
    eval_every: int = resumable(250)
    """Steps between validation losses."""
    eval_batches: int = resumable(16)
    """Batches of validation data at each interval; the last validation uses all of them."""
    checkpoint_every: int = resumable(250)
    """Steps between checkpoints."""
    keep: int = resumable(2)
    """Latest checkpoints kept; the first, and the best by validation loss, are kept besides."""
    keep_every: int = resumable(0)
    """Checkpoints of multiples of this many steps are kept as well; 0 for none."""
    watchdog: float = resumable(600.0)
    """Seconds without progress after which a run says where it stands still and ends, to be started
    again; 0 waits for ever."""
    profile: str = resumable("")
    """Steps of which a profile is written, as in 20-24."""
    log_every: int = resumable(10)
    """Steps between lines of the log."""
    trackers: str = resumable("tensorboard")
    """Where the figures go besides the log, several separated by spaces; see docs/watching.md."""
    hooks: str = resumable("samples")
    """What looks at the weights now and then, several separated by spaces; see docs/watching.md."""
    resume_from: str = ""
    """Run whose whole state (weights, optimiser, step) a new run continues from, e.g. to more
    steps."""
    init_from: str = ""
    """Run, or file that jaxmusic export wrote, whose weights a new run starts from."""
