"""The command line: `jaxmusic COMMAND`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from jaxmusic._src import quickstart
from jaxmusic._src.cluster import exits
from jaxmusic._src.commands import composing, data, evaluating, listing, parsing, training
from jaxmusic._src.core.errors import Remark, UserError, explained
from jaxmusic.version import __version__

DOCUMENTATION = "the folder docs of the source, quickstart.md first"
GROUPS: dict[str, dict[str, Callable[..., Any]]] = {
    "Data": {"prepare": data.prepare, "convert": data.convert},
    "Training": {"train": training.train, "export": training.export},
    "Composing": {
        "quickstart": quickstart.quickstart,
        **composing.COMMANDS,
    },
    "Evaluating": {"evaluate": evaluating.evaluate, "compare": evaluating.compare},
    "Operations": {"list": listing.names, "plan": training.plan, "status": training.status},
}
"""Commands by group and name: functions whose docstrings are the help."""
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command; exits with 2 after a mistake that the user can correct.

    Args:
      argv: the arguments; those of the process if None.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    # TensorFlow Datasets and gRPC would fill stderr with messages of no use.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    warnings.showwarning = _show
    warnings.simplefilter("default", Remark)
    try:
        sys.exit(_dispatch(argv))
    except KeyboardInterrupt:
        print("jaxmusic: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has closed it, as in `jaxmusic --help | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (UserError, OSError) as error:
        if (sentence := explained(error)) is None:
            raise
        print(f"jaxmusic: {sentence}", file=sys.stderr)
        sys.exit(exits.MISTAKE)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Shows a warning on stderr: a remark as one line, others as Python does."""
    text = f"jaxmusic: {message}\n"
    if not issubclass(category, Remark):
        text = warnings.formatwarning(message, category, filename, lineno)
    sys.stderr.write(text)


def _dispatch(argv: Sequence[str]) -> int:
    """Runs the command that comes first and returns its exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"jaxmusic {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"jaxmusic: there is no command {argv[0]!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    command = COMMANDS[argv[0]]
    run = training.run if command in training.OF_A_CONFIG else parsing.run
    return run(command, argv[1:], f"jaxmusic {argv[0]}")


def _usage() -> str:
    """Returns the help of `jaxmusic`: the first line of each command's docstring, by group."""
    lines = [
        "jaxmusic trains music models and composes with them.",
        "",
        "usage: jaxmusic COMMAND [OPTIONS]",
        "       jaxmusic COMMAND --help    shows the options and examples of a command",
        "",
        "A first example prepares music, trains a model and composes, in five minutes:",
        "    jaxmusic quickstart --out first",
    ]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:"]
        for name, command in commands.items():
            lines.append(f"  {name:12}{(command.__doc__ or '').splitlines()[0]}")
    lines += ["", f"Documentation: {DOCUMENTATION}"]
    return "\n".join(lines)
