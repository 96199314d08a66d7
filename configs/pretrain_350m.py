"""Pretraining on all of Lakh, 350 million parameters: 8 H100, or v5e:4x4.

The run has 14,000 steps of 524,288 tokens: 7.3 billion, 21 per parameter.

`jaxmusic plan`: 7.6 GiB of 15.75 on v5e:4x4 (compiled), 1.06 times the least traffic, at least
606 ms per step (unverified); 14.4 GiB of 74.5 on 8 H100 (estimated). Nothing has been trained with
this config yet.
"""

import dataclasses

from jaxmusic import config


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="lakh_full", context=4096, batch=128),
        model=dataclasses.replace(config.presets.model("350m"), remat="attention"),
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
