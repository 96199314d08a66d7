"""Pretraining on all of Lakh, 7.3 billion parameters: on v5p:4x4x8, 128 TPU v5p."""

from jaxmusic import config
from jaxmusic.models import presets


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="lakh_full", context=16_384, batch=128, threads=8),
        model=presets.model("7b"),
        optimizer=config.Optimizer(
            learning_rate=1.5e-4, warmup=2000, schedule="wsd", b2=0.95, spike=6.0
        ),
        mesh=config.Mesh(replica=4, fsdp=32),
        steps=68_000,
        z_loss=1e-4,
        eval_every=1000,
        checkpoint_every=500,
        keep_every=10_000,
    )
