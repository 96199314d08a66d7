"""Pop on one GPU with 80 GB: 100 million parameters, bfloat16, a context of 4,096 tokens.

Dataset: `pop`, for example `jaxmusic prepare` of a folder of pop MIDI files. An H100 trains the
preset of this size at some 290,000 tokens per second, in 37 GiB, so these 10,000 steps would take
an hour and a quarter; their result has not been measured. The model overfits a set as small as
POP909: watch the validation loss, and see `data.transpose` and `model.dropout`.
"""

from jaxmusic import config


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(dataset="pop", context=4096, batch=32),
        model=config.Transformer(
            layers=14,
            width=768,
            heads=12,
            kv_heads=12,
            head_dim=64,
            hidden=2048,
            dropout=0.1,
            dtype="bfloat16",
        ),
        optimizer=config.Optimizer(learning_rate=6e-4, warmup=500),
        steps=10000,
        eval_every=500,
        eval_batches=32,
        checkpoint_every=1000,
        samples=config.Samples(every=1000),
    )
