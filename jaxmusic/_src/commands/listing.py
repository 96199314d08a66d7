"""The command that lists names: of instruments, styles, datasets and whatever can be asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Annotated, Literal

import tyro

from jaxmusic import config
from jaxmusic._src.core.errors import UserError

Row = tuple[str, str]
"""A name and what to know of it."""


def _instruments(model: str, data_dir: str) -> Iterable[Row]:
    from jaxmusic._src.formats.instruments import GM_FAMILIES, GM_PROGRAMS

    for program, name in enumerate(GM_PROGRAMS):
        yield name.lower(), f"{GM_FAMILIES[program // 8]}, program {program}"
    yield "drums", "on a channel of their own"


def _styles(model: str, data_dir: str) -> Iterable[Row]:
    from jaxmusic._src.data import catalog
    from jaxmusic._src.runs import described

    if model:
        yield from ((style, "") for style in described.described(model).styles)
        return
    for name in catalog.names(data_dir):
        with contextlib.suppress(UserError):  # prepared by another version
            styles = catalog.open_dataset(name, data_dir).summary["styles"]
            yield from ((style, f"in dataset {name}") for style in styles)


def _datasets(model: str, data_dir: str) -> Iterable[Row]:
    from jaxmusic._src.data import catalog, datasets

    prepared = set(catalog.names(data_dir))
    for name in sorted(prepared):
        yield name, f"prepared in {data_dir}"
    for name, dataset in datasets.DATASETS.items():
        if name not in prepared:
            yield name, f"jaxmusic prepare {name}: {dataset.licence}"


def _configs(model: str, data_dir: str) -> Iterable[Row]:
    from jaxmusic._src.runs import experiments

    for name in experiments.names():
        yield name, experiments.about(name)


def _statistics(model: str, data_dir: str) -> Iterable[Row]:
    from jaxmusic._src.evaluate import statistics

    return ((name, s.meaning) for name, s in statistics.STATISTICS.items())


def _controls(model: str, data_dir: str) -> Iterable[Row]:
    from jaxmusic._src.commands.options import texts

    trained = None
    if model:
        from jaxmusic._src.runs import described

        trained = described.described(model).controls
    if trained is not None:
        yield "trained with", ", ".join(trained) or "none"
    yield from texts(config.Controls).items()


KINDS: dict[str, Callable[[str, str], Iterable[Row]]] = {
    "instruments": _instruments,
    "styles": _styles,
    "datasets": _datasets,
    "configs": _configs,
    "statistics": _statistics,
    "controls": _controls,
}


def names(
    kind: Annotated[
        Literal["instruments", "styles", "datasets", "configs", "statistics", "controls"],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="KIND"),
    ],
    /,
    model: Annotated[str, tyro.conf.arg(metavar="RUN", help_behavior_hint="")] = "",
    data_dir: Annotated[str, tyro.conf.arg(metavar="DIR")] = config.Prepare().data_dir,
) -> None:
    """Lists instruments, styles, datasets, configs and other names.

    Examples:
      jaxmusic list instruments
      jaxmusic list styles --model runs/pop
      jaxmusic list datasets

    Args:
      kind: instruments, styles, datasets, configs, statistics or controls.
      model: styles or controls of this model: folder of a run, or an exported file.
      data_dir: folder that holds the datasets.
    """
    rows = list(KINDS[kind](model, data_dir))
    if not rows:
        raise UserError(f"There are no {kind} to list: name a --model or another --data-dir.")
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {text}".rstrip() for name, text in rows))
