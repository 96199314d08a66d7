"""Runs benchmarks by name, keeps their results and writes the page that shows them."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import pathlib
import sys

from benchmarks import page, runner
from jaxmusic.core.errors import UserError

PAGE = runner.FOLDER.parent / "docs" / "benchmarks.md"


def names() -> dict[str, str]:
    """Every benchmark (a module here with `run(options)`) and the first line of its docstring."""
    found = {}
    for path in sorted(runner.FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text())
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        runs = [f for f in functions if f.name == "run" and f.args.args[:1]]
        if any(f.args.args[0].arg == "options" for f in runs):
            found[path.stem] = (ast.get_docstring(tree) or "").splitlines()[0]
    return found


def parser() -> argparse.ArgumentParser:
    """The command line: names, where to write, and a flag for each field of `runner.Options`."""
    out = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    out.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run, see --list")
    out.add_argument("--list", action="store_true", help="list the benchmarks")
    out.add_argument("--render", action="store_true", help="only write the page again")
    out.add_argument("--out", type=pathlib.Path, default=PAGE, help="page to write")
    about = (runner.Options.__doc__ or "").split("Attributes:")[1].split("\n      ")
    text = {line.split(": ")[0]: line.split(": ", 1)[1] for line in about if ": " in line}
    defaults = runner.Options()
    for field in dataclasses.fields(runner.Options):
        default = getattr(defaults, field.name)
        flag = "--" + field.name.replace("_", "-")
        if isinstance(default, bool):
            out.add_argument(flag, action="store_true", help=text[field.name])
        else:
            out.add_argument(flag, type=type(default), default=default, help=text[field.name])
    return out


def main() -> int:
    """Runs what the command line asks for; 1 if one of them cannot."""
    arguments = vars(parser().parse_args())
    wanted, listed, rendered, out = (arguments.pop(k) for k in ("names", "list", "render", "out"))
    known = names()
    if listed:
        print("\n".join(f"{name:12s} {title}" for name, title in known.items()))
        return 0
    if unknown := [name for name in wanted if name not in known]:
        print(
            f"There is no benchmark {unknown[0]}; there are: {', '.join(known)}.", file=sys.stderr
        )
        return 2
    if not wanted and not rendered:
        print("Name a benchmark, or give --list or --render.", file=sys.stderr)
        return 2
    failed = False
    for name in wanted:
        try:
            print(page.plain(runner.run(name, runner.Options(**arguments))), flush=True)
        except (runner.MissingPeer, UserError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
    page.render(out)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
