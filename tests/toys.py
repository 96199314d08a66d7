"""Models, data and runs small enough for tests, shared so that each is compiled once."""

import pathlib

from jaxmusic import config

MODEL = config.Transformer(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64)


def experiment(data_dir: pathlib.Path) -> config.Experiment:
    """Six steps of `MODEL` on the dataset `starter` in a folder."""
    return config.Experiment(
        data=config.Data(dataset="starter", data_dir=str(data_dir), context=256, batch=2),
        model=MODEL,
        optimizer=config.Optimizer(warmup=2),
        steps=6,
        eval_every=3,
        eval_batches=2,
        checkpoint_every=3,
        log_every=1,
    )
