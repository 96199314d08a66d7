"""The smallest model that composes something: about three minutes on two CPU cores.

Dataset: `starter`, which `jaxmusic quickstart` prepares.
"""

from jaxmusic import config


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(
            dataset="starter",
            context=512,
            batch=8,
            drop_controls=0.15,
            tasks=config.Tasks(infill=0.1, accompany=0.1, harmonise=0.1, vary=0.05),
        ),
        model=config.Transformer(layers=4, width=128, heads=4, kv_heads=2, head_dim=32, hidden=384),
        optimizer=config.Optimizer(learning_rate=4e-3, warmup=30),
        steps=400,
        eval_every=200,
        eval_batches=4,
        checkpoint_every=100,
    )
