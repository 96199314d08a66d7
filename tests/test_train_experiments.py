"""Experiments by name and by path."""

import pytest

from jaxmusic import config
from jaxmusic.core import settings
from jaxmusic.core.errors import UserError
from jaxmusic.runs import experiments

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("name", experiments.names())
def test_each_experiment_is_the_same_from_json(name):
    found = experiments.load_experiment(name)
    assert settings.from_json(config.Experiment, settings.to_json(found)) == found


def test_a_file_of_ones_own_is_an_experiment(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from jaxmusic import config\ndef experiment():\n    return config.Experiment(steps=7)\n"
    )
    assert experiments.load_experiment(str(path)).steps == 7


@pytest.mark.parametrize("name", ["nothing", "nothing.py", "../configs/pop_cpu", ""])
def test_a_missing_experiment_is_answered_with_those_there_are(name):
    with pytest.raises(UserError, match="pop_cpu"):
        experiments.load_experiment(name)


def test_a_file_without_an_experiment_is_refused(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("steps = 7\n")
    with pytest.raises(UserError, match=r"experiment\(\)"):
        experiments.load_experiment(str(path))
