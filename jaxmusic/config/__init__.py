"""Every default of the library, as frozen dataclasses."""

from jaxmusic.config.composing import Controls, Evaluation, Output, Sampling
from jaxmusic.config.preparing import Prepare
from jaxmusic.config.training import (
    Codec,
    Data,
    Experiment,
    Hosts,
    Mesh,
    Model,
    Optimizer,
    Samples,
    Tasks,
)

__all__ = [
    "Codec",
    "Controls",
    "Data",
    "Evaluation",
    "Experiment",
    "Hosts",
    "Mesh",
    "Model",
    "Optimizer",
    "Output",
    "Prepare",
    "Samples",
    "Sampling",
    "Tasks",
]
