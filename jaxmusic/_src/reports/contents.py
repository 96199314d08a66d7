"""Types of what a comparison reads in report.json, for `core.outside`."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

Value = float | None
Values = dict[str, Value]


class _Run(TypedDict):
    name: str
    settings: dict[str, Any]
    dataset: str
    parameters: int
    steps: int
    seconds: Value
    training: list[tuple[float, float]]
    validation: list[tuple[float, float]]
    last: Value
    best: Value


class _Away(TypedDict):
    difference: Value


class _Statistic(TypedDict):
    title: str
    distance: _Away
    floor: _Away


class _Interval(TypedDict):
    value: Value
    low: Value
    high: Value


class _Likelihood(TypedDict):
    resolution: str
    pieces: int
    notes: int
    seconds: float
    figures: dict[str, _Interval]


class _Figure(TypedDict):
    name: str
    asked: Value
    not_asked: Value


class _Control(TypedDict):
    figures: list[_Figure]


class _Adherence(TypedDict):
    controls: dict[str, _Control]


class _Set(TypedDict):
    songs: int


class _Repetition(TypedDict):
    likeness: Values
    stuck: Value


class _Originality(TypedDict):
    copied: Value
    median: Value
    most: Value


class _Sides(TypedDict):
    ours: _Originality


class Report(TypedDict):
    """A report on songs, or on a model."""

    version: int
    statistics: dict[str, _Statistic]
    sets: dict[str, _Set]
    endings: dict[str, Values]
    repetition: dict[str, _Repetition]
    originality: _Sides
    run: NotRequired[_Run]
    likelihood: NotRequired[_Likelihood]
    adherence: NotRequired[_Adherence]
