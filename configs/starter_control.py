"""Training with controls and tasks on the starter corpus: half an hour on two CPU cores.

Dataset: `starter`, preferably 2,000 songs composed by `python -m examples.starter --songs 2000
--dataset starter`. They have about 12.5 million tokens; 2,400 steps of 4,096 tokens see three
quarters of them. A row of 1,024 tokens is about twelve bars of a band. Chords, keys and sections of
these songs are known, so that controls can be compared with the truth. On an H100, `--data.batch 16
--steps 16000 --data.workers 6` takes two and a half minutes.
"""

from jaxmusic import config


def experiment() -> config.Experiment:
    return config.Experiment(
        data=config.Data(
            dataset="starter",
            context=1024,
            batch=4,
            drop_controls=0.15,
            tasks=config.Tasks(infill=0.1, accompany=0.1, harmonise=0.1, vary=0.05),
        ),
        model=config.Transformer(layers=4, width=192, heads=3, kv_heads=3, head_dim=64, hidden=512),
        optimizer=config.Optimizer(learning_rate=3e-3, final=0.05, warmup=100),
        steps=2400,
        eval_every=400,
        eval_batches=8,
        checkpoint_every=200,
    )
