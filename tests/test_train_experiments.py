"""Experiments by name and by path."""

import pytest

from jaxmusic import config
from jaxmusic._src.core import settings
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.runs import experiments

pytestmark = pytest.mark.quick
IMPORT = "from jaxmusic import config\n"


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


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("import jaxmusic.confg\n", 1, "jaxmusic.confg"),
        ("def experiment():\n    return 1 / 0\n", 2, "return 1 / 0"),
        (f"{IMPORT}def experiment():\n    return config.Experiment(stepps=7)\n", 3, "stepps"),
        (f"{IMPORT}bad = config.Optimizer(\n    learning_rate=-1\n)\n", 2, "learning_rate must be"),
        ("def experiment(:\n", 1, "SyntaxError"),
        ("steps = 1\n  more = 2\n", 2, "IndentationError"),
        ("import sys\nsys.exit('no')\n", 2, "SystemExit"),
        (f"{IMPORT}config.Prepare(where=3).where.strip()\n", 2, "AttributeError"),
        ("steps = '\0'\n", 0, "null byte"),
        ("steps = '\udcff'\n", 0, "utf-8"),
    ],
)
def test_an_error_in_ones_own_file_is_its_line_alone(tmp_path, text, line, said):
    path = tmp_path / "mine.py"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(UserError) as error:
        experiments.load_experiment(str(path))
    message = str(error.value)
    assert said in message and str(path) in message and message.count("\n") <= 1
    assert not line or f"line {line} of {path}" in message
