"""The builder on Apache Beam."""

import dataclasses
import importlib.util
import pathlib

import data_music
import pytest

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import beam
from jaxmusic._src.data.builder import prepare
from jaxmusic.config import Prepare

BEAM = importlib.util.find_spec("apache_beam") is not None


@pytest.fixture
def options(tmp_path):
    return Prepare(name="tunes", data_dir=str(tmp_path / "data"), workers=1, validation=0.3)


@pytest.fixture(scope="module")
def midi(tmp_path_factory):
    folder = data_music.folder(tmp_path_factory.mktemp("midi"), 9)
    (folder / "broken.mid").write_bytes(b"none")
    return folder


@pytest.mark.skipif(not BEAM, reason="needs the extra beam: pip install -e .[beam]")
def test_the_records_are_those_of_worker_processes(midi, options, tmp_path, monkeypatch):
    monkeypatch.setattr(beam, "BATCH", 4)
    plain = prepare([str(midi)], options, progress=False)
    other = dataclasses.replace(
        options, data_dir=str(tmp_path / "beam"), beam_runner="DirectRunner"
    )
    by_beam = prepare([str(midi)], other, progress=False)
    assert by_beam.content == plain.content and by_beam.fingerprint == plain.fingerprint
    assert (by_beam.pieces, by_beam.skipped) == (9, {"cannot be read": 1})
    reports = [pathlib.Path(s.report).read_bytes() for s in (plain, by_beam)]
    assert reports[0] == reports[1]
    left = sorted(p.name for p in (tmp_path / "beam" / "tunes").iterdir())
    assert left == [".lock", "notes"]


def test_a_runner_that_is_none(midi, options):
    words = "has no runner 'SlowRunner'" if BEAM else r"pip install 'jaxmusic\[beam\]'"
    with pytest.raises(UserError, match=words):
        prepare([str(midi)], dataclasses.replace(options, beam_runner="SlowRunner"), progress=False)
