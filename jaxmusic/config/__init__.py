"""Every default of the library, as frozen dataclasses."""

from jaxmusic.config import presets
from jaxmusic.config.composing import Controls, Evaluation, Output, Sampling
from jaxmusic.config.models import LSTM, Model, Transformer
from jaxmusic.config.objectives import Adapter, CrossEntropy, Full, Objective
from jaxmusic.config.options import (
    TASK_OPTIONS,
    AccompanyOptions,
    ContinueOptions,
    EditOptions,
    HarmoniseOptions,
    Options,
    SamplingOptions,
    task_controls,
)
from jaxmusic.config.preparing import Prepare
from jaxmusic.config.training import (
    Codec,
    Data,
    Experiment,
    Hosts,
    Mesh,
    Optimizer,
    Samples,
    Tasks,
)

__all__ = [
    "LSTM",
    "TASK_OPTIONS",
    "AccompanyOptions",
    "Adapter",
    "Codec",
    "ContinueOptions",
    "Controls",
    "CrossEntropy",
    "Data",
    "EditOptions",
    "Evaluation",
    "Experiment",
    "Full",
    "HarmoniseOptions",
    "Hosts",
    "Mesh",
    "Model",
    "Objective",
    "Optimizer",
    "Options",
    "Output",
    "Prepare",
    "Samples",
    "Sampling",
    "SamplingOptions",
    "Tasks",
    "Transformer",
    "presets",
    "task_controls",
]
