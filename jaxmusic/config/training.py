"""Settings of a training run."""

from __future__ import annotations

import dataclasses

from jaxmusic.config.fields import (
    MANY,
    SEED,
    SIZE,
    STEP,
    WORKERS,
    Settings,
    local,
    number,
    resumable,
    resumable_group,
)
from jaxmusic.config.models import Model, Transformer
from jaxmusic.config.objectives import Adapter, CrossEntropy, Full, Objective
from jaxmusic.config.preparing import Prepare


@dataclasses.dataclass(frozen=True)
class Codec(Settings, group="codec"):
    """Settings of the codec, which converts notes to tokens."""

    steps_per_beat: int = number(12, "[12, 24]")
    """Grid steps per quarter note: 12 or 24."""
    velocities: int = number(8, "[8, 32]")
    """Number of loudness levels: 8, 16 or 32."""
    kind: str = "metrical"
    """Token language: metrical, fused (metrical with slot and pitch in one token) or
    performance (note-seq's events in steps of 10 ms, for expressive piano)."""


@dataclasses.dataclass(frozen=True)
class Tasks(Settings, group="data.tasks"):
    """Probabilities of reading a part of a piece as a task, drawn in every epoch: the given notes
    come first, then the notes to write.
    """

    infill: float = number(0.0, "[0, 1]")
    """The model writes some bars inside the part."""
    accompany: float = number(0.0, "[0, 1]")
    """The model writes some instruments; the others and the chords are given."""
    harmonise: float = number(0.0, "[0, 1]")
    """The model writes chords and everything else; the melody is given."""
    vary: float = number(0.0, "[0, 1]")
    """The model writes some bars; the others and the chords of all bars are given."""


@dataclasses.dataclass(frozen=True)
class Data(Settings, group="data"):
    """Settings of the data of a run."""

    dataset: str = "pop"
    """Prepared dataset, or several with the weights of their rows: pop=3 folk=1."""
    where: str = ""
    """Filter of the pieces, as in style=pop tempo=90..140 has=drums; empty for all. Fields: style,
    tempo, meter, key, bars, seconds, notes, tracks, density (notes per second) and has (drums,
    instrument families or instruments)."""
    data_dir: str = local(Prepare.data_dir)
    """Folder of the datasets. From a bucket (gs://, s3://) they are copied once to this machine."""
    context: int = number(1024, "[2, 16777216]")
    """Tokens in a row."""
    batch: int = number(8, SIZE)
    """Rows in a global batch."""
    transpose: int = number(5, "[0, 127]")
    """Transpose each piece by up to this many semitones down or up, drawn in every epoch."""
    drop_controls: float = number(0.1, "[0, 1]")
    """Probability of leaving each optional control out of a piece's header."""
    normalise: bool = False
    """Transpose every piece with a known key to C major or A minor; requires transpose 0."""
    tempo_scale: float = number(0.0, "[0, 1)")
    """Change the tempo of each piece by up to this share, e.g. 0.1, drawn in every epoch."""
    velocity_scale: float = number(0.0, "[0, 1]")
    """Change the loudness of each piece by up to this share, drawn in every epoch."""
    drop_tracks: float = number(0.0, "[0, 1)")
    """Probability of leaving out each track of a piece, drums included; one track always stays."""
    tasks: Tasks = dataclasses.field(default_factory=Tasks)
    """Tasks to learn besides composing and continuing."""
    workers: int = local(0, WORKERS)
    """Reader processes per host, for more tokens per second than one thread reads; 0 reads in a
    thread."""


@dataclasses.dataclass(frozen=True)
class Optimizer(Settings, group="optimizer"):
    """Optimizer and learning-rate schedule."""

    name: str = "adamw"
    """adamw, or muon (for the matrices of the layers, with AdamW for the rest)."""
    schedule: str = "cosine"
    """Learning rate after the warm-up: cosine, or wsd (constant, then a decay at the end)."""
    decay: float = number(0.2, "(0, 1]")
    """Share of the steps during which wsd decays."""
    learning_rate: float = number(1e-3, "(0, inf)")
    """Peak learning rate."""
    final: float = number(0.1, "[0, 1]")
    """Final learning rate as a share of the peak."""
    warmup: int = number(100, STEP)
    """Steps of linear warm-up."""
    b1: float = number(0.9, "[0, 1)")
    """Decay of the first moment."""
    b2: float = number(0.98, "[0, 1)")
    """Decay of the second moment."""
    weight_decay: float = number(0.1, "[0, inf)")
    """Decoupled weight decay of matrices."""
    clip: float = number(1.0, "(0, inf)")
    """Maximum global gradient norm."""
    spike: float = number(0.0, "[0, inf)")
    """Skip updates with a loss or gradient norm more than this many standard deviations above its
    running mean, e.g. 6; 0 skips only values that are not finite."""
    patience: int = resumable(20, MANY)
    """Skipped updates in a row after which a run stops."""
    ema: float = number(0.0, "[0, 1)")
    """Decay of the moving average of the weights, e.g. 0.999. The average is validated, saved and
    used for composing; 0 for none."""


@dataclasses.dataclass(frozen=True)
class Mesh(Settings, group="mesh"):
    """Devices along each axis of the mesh; -1 takes the rest."""

    replica: int = number(1, "[-1, 1048576]")
    """Data parallelism with replicated parameters; with several TPU slices a multiple of their
    number."""
    fsdp: int = number(-1, "[-1, 1048576]")
    """Data parallelism with sharded parameters (FSDP)."""
    context: int = number(1, "[-1, 1048576]")
    """Context parallelism: the tokens of a row are sharded."""
    tensor: int = number(1, "[-1, 1048576]")
    """Tensor parallelism: heads and hidden units are sharded."""


@dataclasses.dataclass(frozen=True)
class Hosts(Settings, group="hosts"):
    """Timeouts between the processes of a run."""

    start: float = number(300.0, "(0, 1000000]")
    """Seconds within which all processes must start; longer than a machine takes to restart."""
    lost: float = number(30.0, "(0, 1000000]")
    """Seconds without a heartbeat after which a process counts as lost."""


@dataclasses.dataclass(frozen=True)
class Samples(Settings, group="samples"):
    """Settings of short pieces composed during a run; see docs/watching.md."""

    every: int = number(0, STEP)
    """Steps between samples, with further ones after the last step; 0 for never."""
    pieces: int = number(3, "[1, 1000]")
    """Number of pieces, always sampled with the same random numbers."""
    seconds: float = number(30.0, "(0, inf)")
    """Length of each piece."""
    statistics: str = (
        "pitch_class_entropy scale_consistency polyphony notes_per_quarter groove_consistency "
        "bar_similarity_4"
    )
    """Statistics to record of the pieces and of the validation split: names of numeric statistics
    in docs/evaluation.md, separated by spaces."""


@dataclasses.dataclass(frozen=True)
class Experiment(Settings):
    """All settings of a training run."""

    data: Data = dataclasses.field(default_factory=Data)
    codec: Codec = dataclasses.field(default_factory=Codec)
    model: Model = dataclasses.field(default_factory=Transformer)
    objective: Objective = dataclasses.field(default_factory=CrossEntropy)
    adapter: Adapter = dataclasses.field(default_factory=Full)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    mesh: Mesh = resumable_group(Mesh)  # noqa: RUF009
    hosts: Hosts = resumable_group(Hosts)  # noqa: RUF009
    samples: Samples = resumable_group(Samples)  # noqa: RUF009
    steps: int = number(2000, "[1, 2147483647]")
    """Optimizer steps."""
    accumulate: int = resumable(1, SIZE)
    """Micro-batches per batch. More of them need less memory; results are the same up to
    rounding."""
    seed: int = number(0, SEED)
    """Seed of the parameters, the order of the data and its augmentation."""
    eval_every: int = resumable(250, STEP)
    """Steps between validations."""
    eval_batches: int = resumable(16, MANY)
    """Batches per validation; the last validation uses the whole split."""
    checkpoint_every: int = resumable(250, "[1, 2147483647]")
    """Steps between checkpoints."""
    keep: int = resumable(2, MANY)
    """Latest checkpoints to keep, besides the first and the best by validation loss."""
    keep_every: int = resumable(0, STEP)
    """Also keep checkpoints at multiples of this many steps; 0 for none."""
    watchdog: float = resumable(600.0, "[0, 1000000]")
    """Seconds without progress after which a run prints the stacks of its threads and exits with
    1; 0 switches the watchdog off."""
    profile: str = resumable("")
    """Steps to profile, as in 20-24."""
    log_every: int = resumable(10, "[1, 2147483647]")
    """Steps between lines of the log."""
    trackers: str = resumable("tensorboard")
    """Trackers besides the log, separated by spaces; see docs/watching.md."""
    callbacks: str = resumable("samples")
    """Callbacks run with the weights in training, separated by spaces; see docs/watching.md."""
    resume_from: str = ""
    """Run whose full state (weights, optimizer, step) the new run continues."""
    init_from: str = ""
    """Run, or file of jaxmusic export, whose weights the new run starts from."""
