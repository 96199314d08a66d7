"""Pretraining on all of Lakh, a billion parameters: v5e:16x16, a whole pod of 256 TPU v5e.

The run has 5,000 steps of 4.2 million tokens, one row of 16,384 tokens per chip: 21 billion, 21 per
parameter. Parameters are sharded over 16 chips and replicated 16 times: shards over 256 chips would
be too narrow to gather well.

`jaxmusic plan`: 6.1 GiB of 15.75 (compiled), 1.05 times the least traffic, at least 1.19 s per step
(unverified). Nothing has been trained with this config yet.
"""

import dataclasses

from jaxmusic import config


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="lakh_full", context=16_384, batch=256),
        model=dataclasses.replace(config.presets.model("1b"), remat="attention"),
        optimizer=config.Optimizer(
            learning_rate=3e-4, warmup=500, schedule="wsd", b2=0.95, spike=6.0
        ),
        mesh=config.Mesh(replica=16, fsdp=16),
        steps=5000,
        objective=config.CrossEntropy(z_loss=1e-4),
        eval_every=250,
        checkpoint_every=250,
        keep_every=1000,
    )
