"""Pretraining on all of Lakh, 100 million parameters: one H100, or v5e:2x4.

2.1 billion tokens, 21 for each parameter, in 8,000 steps of 262,144. Rows of public music repeat at
that, each time moved in pitch anew. Two parts of a batch, so that it fits one GPU of 80 GB with
room; `--accumulate 1` on v5e:2x4 sends half as much.

`jaxmusic plan` says: on one H100 42 GiB of 74.5, an estimate; on v5e:2x4 5.4 GiB of 15.75,
compiled, a step of at least 166 ms (unverified). Nothing has been trained with it yet.
"""

from jaxmusic import config
from jaxmusic.models import presets


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="lakh_full", context=4096, batch=64),
        model=presets.model("100m"),
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
