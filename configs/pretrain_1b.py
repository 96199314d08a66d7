"""Pretraining on all of Lakh, 1.1 billion parameters: on v5e:16x16, a whole pod of 256 TPU v5e."""

import dataclasses

from jaxmusic import config
from jaxmusic.models import presets


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="lakh_full", context=16_384, batch=256, threads=8),
        model=dataclasses.replace(presets.model("1b"), remat="attention"),
        optimizer=config.Optimizer(
            learning_rate=3e-4, warmup=500, schedule="wsd", b2=0.95, spike=6.0
        ),
        mesh=config.Mesh(replica=16, fsdp=16),
        steps=5000,
        z_loss=1e-4,
        eval_every=250,
        checkpoint_every=250,
        keep_every=1000,
    )
