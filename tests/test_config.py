"""Every number among the settings has a range, and what is out of it is refused by its name."""

import dataclasses
import math
import re

import pytest

from jaxmusic import config
from jaxmusic._src.core import ranges, settings
from jaxmusic._src.core.errors import UserError

pytestmark = pytest.mark.quick

GROUPS = [cls for name in config.__all__ if dataclasses.is_dataclass(cls := getattr(config, name))]
NUMBERS = [
    pytest.param(cls, field, id=f"{cls.__name__}.{field.name}")
    for cls in GROUPS
    for field in dataclasses.fields(cls)
    if {"int", "float"} & set(str(field.type).split(" | "))
]


@pytest.mark.parametrize(("cls", "field"), NUMBERS)
def test_each_number_has_a_range_and_what_is_out_of_it_is_named(cls, field):
    """Declare it by `jaxmusic.config.fields.number`, or give `resumable` or `local` its range."""
    allowed, whole = ranges.interval(field.metadata["range"]), "float" not in field.type
    low, high = allowed.low, allowed.high
    step = (lambda x, to: x + int(math.copysign(1, to))) if whole else math.nextafter
    inside = [step(low, math.inf) if allowed.above else low]
    outside = [low if allowed.above else step(low, -math.inf), -math.inf, math.nan, math.inf]
    if high < math.inf:
        inside.append(step(high, -math.inf) if allowed.below else high)
        outside.append(high if allowed.below else step(high, math.inf))
    inside, outside = (
        [int(x) if whole and math.isfinite(x) else x for x in s] for s in (inside, outside)
    )
    for value in inside:
        assert getattr(cls(**{field.name: value}), field.name) == value
    for value in [*outside, True, [1], b"1"]:
        with pytest.raises(UserError, match=rf"\b{field.name} must be ") as error:
            cls(**{field.name: value})
        assert str(allowed) in str(error.value) and "\n" not in str(error.value)


def test_groups_have_the_names_that_an_experiment_gives_them():
    for model in (config.Transformer, config.LSTM):
        for name, value in settings.flat(config.Experiment(model=model())).items():
            group, _, field = name.rpartition(".")
            owner = dataclasses.replace(config.Experiment(), model=model())
            for part in group.split(".") if group else ():
                owner = getattr(owner, part)
            if type(value) in (int, float):
                with pytest.raises(UserError, match=f"^{re.escape(name)} must be"):
                    dataclasses.replace(owner, **{field: math.nan})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[0, inf)", "0 or more"),
        ("(0, inf)", "more than 0"),
        ("[1, 10]", "1 to 10"),
        ("[0, 1)", "at least 0 and less than 1"),
        ("(0, 0.5]", "more than 0 and at most 0.5"),
    ],
)
def test_intervals_in_words(text, words):
    assert str(ranges.interval(text)) == words
