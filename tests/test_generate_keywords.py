"""Keyword arguments of composing: typed, shown, and checked."""

import inspect
import typing

import numpy as np
import pytest

import jaxmusic
from jaxmusic import config
from jaxmusic._src.generate import keywords

GIVEN = {"style", "duration", "seed"}
"""Options that are arguments of composing."""
OF_TASKS = config.TASK_OPTIONS


def names(options):
    return set(typing.get_type_hints(options)) - {"controls", "sampling"}


def test_options_are_the_fields_of_controls_and_sampling():
    sampling, controls = set(vars(config.Sampling())), set(vars(config.Controls()))
    assert names(config.SamplingOptions) == sampling
    assert names(config.Options) == sampling | controls - GIVEN
    for task, options in OF_TASKS.items():
        assert names(options) == sampling | set(config.task_controls(task))
    assert names(OF_TASKS["accompany"]) == names(config.AccompanyOptions) | {"instruments"}
    plain = typing.get_type_hints(config.Controls) | typing.get_type_hints(config.Sampling)
    for options in (config.Options, *OF_TASKS.values()):
        for name, hint in typing.get_type_hints(options).items():
            if name in plain:
                assert plain[name] in (hint, *typing.get_args(hint)) or plain[name] == hint


def test_help_and_completion_name_every_option():
    model = jaxmusic.MusicModel
    for method in (model.generate, model.compose, model.stream):
        shown = inspect.signature(method).parameters
        assert names(config.Options) | GIVEN < set(shown)
        assert shown["tempo"].default == 0 and shown["top_p"].default == config.Sampling().top_p
    assert "instruments" not in inspect.signature(model.infill).parameters


def test_fields_take_precedence_over_groups_and_lists_are_text():
    controls = config.Controls(key="C", tempo=90.0)
    asked, sampling = keywords.read(
        {"controls": controls, "tempo": 120, "instruments": ["piano", "bass"], "energy": (2, 5)},
        seed=np.int64(3),
        style=None,
    )
    assert (asked.key, asked.tempo, asked.seed) == ("C", 120.0, 3)
    assert (asked.instruments, asked.energy) == ("piano, bass", "2 5")
    assert sampling == config.Sampling()
    assert len({keywords.read({})[0].seed for _ in range(9)}) > 1  # a fresh one for each piece
    asked, _ = keywords.read({"chords": ["C", "G/B"], "form": ["A8", "B8"], "temperature": 0.9})
    assert (asked.chords, asked.form) == ("C G/B", "A8 B8")


@pytest.mark.parametrize(
    "options, named",
    [
        ({"instruments": 3}, "instruments must be str"),
        ({"style": ["pop"]}, "style must be str"),
        ({"tempo": "fast"}, "tempo must be float"),
        ({"strict": 1}, "strict must be bool"),
        ({"top_k": 1.5}, "top_k must be int"),
        ({"seed": True}, "seed must be int"),
        ({"seed": 2**70}, "seed must be 0 to"),
        ({"seed": -1}, "seed must be 0 to"),
        ({"duration": [1]}, "duration must be str or float"),
        ({"controls": "pop"}, "config.Controls"),
        ({"sampling": 3}, "config.Sampling"),
        ({"controls": config.Controls(key=5)}, "key must be str"),
        ({"instrument": "piano"}, "instruments"),
        ({"speed": 100}, "speed"),
    ],
)
def test_wrong_options_are_one_sentence(options, named):
    with pytest.raises(jaxmusic.UserError, match=named) as error:
        keywords.read(options)
    assert "\n" not in str(error.value)
