"""What all tests share."""

import os
import pathlib

import pytest


@pytest.fixture(scope="session")
def music() -> pathlib.Path:
    """The folder of real music, from JAXMUSIC_DATA."""
    folder = os.environ.get("JAXMUSIC_DATA", "")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("JAXMUSIC_DATA does not name a folder of real music")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def starter_data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data folder that holds `starter`, a small starter corpus."""
    from jaxmusic import config
    from jaxmusic.data import builder, starter

    folder = tmp_path_factory.mktemp("data")
    options = config.Prepare(name="starter", data_dir=str(folder))
    builder.prepare_pieces(starter.corpus(24), options, 24, progress=False)
    return folder


@pytest.fixture(scope="session")
def toy_run(starter_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of a run of a tiny model on `starter`."""
    from jaxmusic.train import trainer

    run = tmp_path_factory.mktemp("runs") / "toy"
    trainer.train(toy_experiment(starter_data), str(run), progress=False)
    return run


def toy_experiment(data_dir: pathlib.Path):
    """Six steps of a tiny model."""
    from jaxmusic import config

    return config.Experiment(
        data=config.Data(dataset="starter", data_dir=str(data_dir), context=256, batch=2),
        model=config.Model(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64),
        optimizer=config.Optimizer(warmup=2),
        steps=6,
        eval_every=3,
        eval_batches=2,
        checkpoint_every=3,
        log_every=1,
    )


@pytest.fixture(scope="module")
def kept_compiled(tmp_path_factory: pytest.TempPathFactory):
    """Keeps compiled programs for a module's tests: they would compile the same ones again."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
