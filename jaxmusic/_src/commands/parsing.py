"""Parses the arguments of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import tyro


def run(command: Callable[..., Any], argv: Sequence[str], prog: str) -> int:
    """Calls a function with arguments from the command line.

    Its arguments are the options. Its docstring is the help, examples included: the parser of
    docstrings would drop a section of that name.

    Returns:
      The exit code.
    """
    description = inspect.cleandoc(command.__doc__ or "").split("\nArgs:\n")[0].strip()
    # The fields of a union, such as the model, are those of the member that the experiment has.
    config = (tyro.conf.AvoidSubcommands,)
    made = tyro.cli(command, args=list(argv), prog=prog, description=description, config=config)
    return made or 0
