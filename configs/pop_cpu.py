"""Pop on two CPU cores in twenty minutes.

Dataset: `pop`, for example `jaxmusic prepare` of POP909. The run has 1,600 steps of 4,096 tokens,
less than two epochs. The model has 2.1 million parameters, about as many as this amount of music
supports, and a context of 1,024 tokens, some seventeen bars. Results are in docs/benchmarks.md.
"""

from jaxmusic import config


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(
            dataset="pop",
            context=1024,
            batch=4,
            drop_controls=0.15,
            tasks=config.Tasks(infill=0.1, accompany=0.1, harmonise=0.1, vary=0.05),
        ),
        model=config.Transformer(layers=4, width=192, heads=3, kv_heads=3, head_dim=64, hidden=512),
        optimizer=config.Optimizer(learning_rate=3e-3, final=0.05, warmup=100),
        steps=1600,
        eval_every=200,
        eval_batches=16,
        checkpoint_every=200,
    )
