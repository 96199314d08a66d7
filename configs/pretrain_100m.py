"""Pretraining on all of Lakh, 100 million parameters: one H100, or v5e:2x4.

The run has 8,000 steps of 262,144 tokens: 2.1 billion, 21 per parameter. This repeats the rows of
public music, each time in another transposition. The batch is computed in two micro-batches, so
that it fits one GPU of 80 GB with room to spare; on v5e:2x4, `--accumulate 1` halves the traffic.

`jaxmusic plan`: 42 GiB of 74.5 on one H100 (estimated); 5.4 GiB of 15.75 on v5e:2x4 (compiled), and
at least 166 ms per step (unverified). Nothing has been trained with this config yet.
"""

from jaxmusic import config


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="lakh_full", context=4096, batch=64),
        model=config.presets.model("100m"),
        optimizer=config.Optimizer(
            learning_rate=6e-4, warmup=1000, schedule="wsd", b2=0.95, spike=6.0
        ),
        steps=8000,
        accumulate=2,
        objective=config.CrossEntropy(z_loss=1e-4),
        eval_every=500,
        eval_batches=32,
        checkpoint_every=500,
        keep_every=4000,
    )
