"""Every default of the library, as frozen dataclasses."""

from jaxmusic.config.composing import Controls, Evaluation, Output, Sampling
from jaxmusic.config.models import LSTM, Model, Transformer
from jaxmusic.config.objectives import Adapter, CrossEntropy, Full, Objective
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
    "Adapter",
    "Codec",
    "Controls",
    "CrossEntropy",
    "Data",
    "Evaluation",
    "Experiment",
    "Full",
    "Hosts",
    "Mesh",
    "Model",
    "Objective",
    "Optimizer",
    "Output",
    "Prepare",
    "Samples",
    "Sampling",
    "Tasks",
    "Transformer",
]
