"""Pretraining on all of Lakh, 100 million parameters: on one H100, or on v5e:2x4."""

from jaxmusic import config
from jaxmusic.models import presets


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="lakh_full", context=4096, batch=64, threads=8),
        model=presets.model("100m"),
        optimizer=config.Optimizer(
            learning_rate=6e-4, warmup=1000, schedule="wsd", b2=0.95, spike=6.0
        ),
        steps=8000,
        accumulate=2,
        z_loss=1e-4,
        eval_every=500,
        eval_batches=32,
        checkpoint_every=500,
        keep_every=4000,
    )
