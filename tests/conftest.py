"""What all tests share."""

import os
import pathlib
import shutil
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Keeps programs that were compiled, for all tests, workers and processes of this session.

    Most of the suite's time goes to compiling, and many tests need the same programs.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:  # as for the workers, which inherit it
        return
    folder = tempfile.mkdtemp(prefix="jaxmusic-programs-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(scope="session")
def music() -> pathlib.Path:
    """The folder of real music, from JAXMUSIC_DATA."""
    folder = os.environ.get("JAXMUSIC_DATA", "")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("JAXMUSIC_DATA does not name a folder of real music")
    return pathlib.Path(folder)


@pytest.fixture
def unoptimised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the processes of a test compile in half the time, to programs that take longer to run."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


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
        model=config.Transformer(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64),
        optimizer=config.Optimizer(warmup=2),
        steps=6,
        eval_every=3,
        eval_batches=2,
        checkpoint_every=3,
        log_every=1,
    )
