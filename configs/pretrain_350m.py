"""Pretraining on all of Lakh, 350 million parameters: 8 H100, or v5e:4x4.

7.3 billion tokens, 21 for each parameter, in 14,000 steps of 524,288.

`jaxmusic plan` says: on v5e:4x4 7.6 GiB of 15.75, compiled, 1.06 times the least traffic, a step of
at least 606 ms (unverified); on 8 H100 14.4 GiB of 74.5, an estimate. Nothing has been trained with
it yet.
"""

import dataclasses

from jaxmusic import config
from jaxmusic.models import presets


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="lakh_full", context=4096, batch=128),
        model=dataclasses.replace(presets.model("350m"), remat="attention"),
        optimizer=config.Optimizer(
            learning_rate=4e-4, warmup=1000, schedule="wsd", b2=0.95, spike=6.0
        ),
        steps=14_000,
        objective=config.CrossEntropy(z_loss=1e-4),
        eval_every=500,
        eval_batches=32,
        checkpoint_every=500,
        keep_every=5000,
    )
