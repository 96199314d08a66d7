"""What all tests share."""

import os
import pathlib
import shutil
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Keeps what was compiled for all tests, workers and processes of this session.

    Most of the suite's time goes to programs of XLA, which many tests share, and to starting
    processes, which would each compile a thousand modules where no bytecode may be written.
    """
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in ("JAX_COMPILATION_CACHE_DIR", "PYTHONPYCACHEPREFIX"):
        if name not in os.environ:  # as it is for the workers, which inherit it
            os.environ[name] = folder = tempfile.mkdtemp(prefix="jaxmusic-compiled-")
            config.add_cleanup(lambda folder=folder: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(scope="session")
def music() -> pathlib.Path:
    """The folder of real music, from JAXMUSIC_DATA."""
    folder = os.environ.get("JAXMUSIC_DATA", "")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("JAXMUSIC_DATA does not name a folder of real music")
    return pathlib.Path(folder)


@pytest.fixture
def fake_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the trainer read the made-up rows of `train_fakes`."""
    import train_fakes

    from jaxmusic._src.train import session

    monkeypatch.setattr(session, "Loader", train_fakes.FakeLoader)


@pytest.fixture
def unoptimised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the processes of a test compile in half the time, to programs that take longer to run."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


@pytest.fixture(scope="session")
def fake_run(tmp_path_factory: pytest.TempPathFactory):
    """The folder and the result of a run on made-up rows that nothing disturbed."""
    import train_fakes

    run = tmp_path_factory.mktemp("fake") / "run"
    return run, train_fakes.train(run)


@pytest.fixture(scope="session")
def starter_data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data folder that holds `starter`, a small starter corpus."""
    from jaxmusic import config
    from jaxmusic._src.data import builder, starter

    folder = tmp_path_factory.mktemp("data")
    options = config.Prepare(name="starter", data_dir=str(folder))
    builder.prepare_pieces(starter.corpus(24), options, 24, progress=False)
    return folder


@pytest.fixture(scope="session")
def toy_run(starter_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of a run of a tiny model on `starter`."""
    import toys

    from jaxmusic._src.train import trainer

    run = tmp_path_factory.mktemp("runs") / "toy"
    trainer.train(toys.experiment(starter_data), str(run), progress=False)
    return run
