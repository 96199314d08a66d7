"""Pretraining on all of Lakh, seven billion parameters: v5p:4x4x8, 128 TPU v5p.

The run has 68,000 steps of 2.1 million tokens, one row of 16,384 tokens per chip: 143 billion, 20
per parameter. Parameters are sharded over 32 chips and replicated 4 times.

`jaxmusic plan`: 57 GiB of 95.7 (compiled), 1.02 times the least traffic, at least 2.19 s per step
and 1.7 days for the run (unverified). Nothing has been trained with this config yet.
"""

from jaxmusic import config


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="lakh_full", context=16_384, batch=128),
        model=config.presets.model("7b"),
        optimizer=config.Optimizer(
            learning_rate=1.5e-4, warmup=2000, schedule="wsd", b2=0.95, spike=6.0
        ),
        mesh=config.Mesh(replica=4, fsdp=32),
        steps=68_000,
        objective=config.CrossEntropy(z_loss=1e-4),
        eval_every=1000,
        checkpoint_every=500,
        keep_every=10_000,
    )
