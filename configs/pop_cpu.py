"""Pop on two CPU cores in about twenty minutes.

Reads the dataset `pop`, such as `jaxmusic prepare` makes of POP909. The model has 5.6 million
parameters and a context of 1,024 tokens.
"""

from jaxmusic import config


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="pop", context=1024, batch=8),
        model=config.Model(layers=6, width=256, heads=4, kv_heads=4, head_dim=64, hidden=768),
        optimizer=config.Optimizer(learning_rate=2e-3, warmup=50),
        steps=600,
        eval_every=150,
        checkpoint_every=100,
    )
