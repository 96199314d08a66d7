"""The command line: `jaxmusic COMMAND`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import tyro

from jaxmusic.commands import composing, data, evaluating, tasks, training
from jaxmusic.core.errors import UserError, explained
from jaxmusic.version import __version__

COMMANDS = {
    "prepare": data.prepare,
    "train": training.train,
    "plan": training.plan,
    "status": training.status,
    "generate": composing.generate,
    "continue": tasks.continue_,
    "infill": tasks.infill,
    "accompany": tasks.accompany,
    "harmonise": tasks.harmonise,
    "vary": tasks.vary,
    "evaluate": evaluating.evaluate,
    "compare": evaluating.compare,
    "export": training.export,
    "convert": data.convert,
    "quickstart": composing.quickstart,
}
THAT_SAMPLE = ("generate", "continue", "infill", "accompany", "harmonise", "vary", "quickstart")
"""Commands whose compiled programs are kept for the next time."""
OF_A_CONFIG = ("train", "plan")
"""Commands whose flags are the fields of an experiment, which has to be loaded first."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command; exits with 1 after a problem the user can mend, 2 after wrong usage."""
    argv = sys.argv[1:] if argv is None else list(argv)
    # TensorFlow Datasets and gRPC chatter on stderr would hide what we have to say.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        sys.exit(_dispatch(argv))
    except KeyboardInterrupt:
        print("jaxmusic: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has seen enough, as in `jaxmusic --help | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (UserError, OSError) as error:
        if (sentence := explained(error)) is None:
            raise
        print(f"jaxmusic: {sentence}", file=sys.stderr)
        sys.exit(1)


def _dispatch(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"jaxmusic {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"jaxmusic: there is no command {argv[0]!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    if argv[0] in THAT_SAMPLE and not set(argv) & {"-h", "--help"}:
        from jaxmusic.train.compilation import keep_compiled

        keep_compiled()
    command: Any = COMMANDS[argv[0]]
    if argv[0] in OF_A_CONFIG:
        return command(argv[1:])
    return tyro.cli(command, args=list(argv[1:]), prog=f"jaxmusic {argv[0]}") or 0


def _usage() -> str:
    lines = [
        f"  {name:12}{(command.__doc__ or '').splitlines()[0]}"
        for name, command in COMMANDS.items()
    ]
    head = "jaxmusic trains music models and composes with them.\n\nusage: jaxmusic COMMAND --help"
    return "\n".join([head, "", "commands:", *lines])
