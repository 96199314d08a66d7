"""Checks the architecture: imports only point down the floors of the house.

Prints one line for each import that breaks a rule of docs/architecture.md and exits with 1 if
there are any. Imports inside functions count too; only heavy packages are welcome there.
"""

from __future__ import annotations

import argparse
import ast
import pathlib
import sys
from collections.abc import Iterator
from typing import NamedTuple

PACKAGE = "jaxmusic"
PRIVATE = "_src"
FLOORS: dict[int, tuple[str, ...]] = {
    9: ("commands",),
    8: ("quickstart", "reports"),
    7: ("model", "originals", "planning"),
    6: ("train",),
    5: ("evaluate",),
    4: ("data", "generate", "runs"),
    3: ("codecs", "formats"),
    2: ("cluster", "models", "music"),
    1: ("config",),
    0: ("core", "version"),
}
"""Rooms of each floor: modules and folders of `jaxmusic._src`, and two that are public."""
PUBLIC = ("config", "version")
DOOR = max(FLOORS) + 1
"""Floor of the public modules, which pass on names of rooms."""
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}

HEAVY = ("note_seq", "matplotlib", "tensorflow_datasets", "tensorflow", "torch", "grain", "orbax")
"""Packages that take long to import: only inside the functions that need them."""
WITHOUT_JAX = ("commands", "config", "core", "data", "formats", "music")
"""Rooms whose modules do not import JAX at the top: worker processes and `--help` start at once."""
JAX = ("jax", "jaxlib", "flax", "optax")


class Import(NamedTuple):
    """One imported name of a file.

    Attributes:
      line: where it stands.
      name: dotted name of the module.
      top: whether it runs when the file is imported.
    """

    line: int
    name: str
    top: bool


def imports(tree: ast.Module, modules: set[str]) -> Iterator[Import]:
    """All imports of a file; `from package import x` names `package.x` where that is a module."""

    def walk(node: ast.AST, top: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(child.lineno, alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = "." * child.level + (child.module or "")
                for alias in child.names:
                    whole = f"{base}.{alias.name}"
                    yield Import(child.lineno, whole if whole in modules else base, top)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for branch, runs in ((child.body, False), (child.orelse, top)):
                    yield from walk(ast.Module(branch, []), runs)
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, top and not function)

    return walk(tree, True)


def floor_of(module: str) -> tuple[str, int | None]:
    """The room of a dotted module name of the package, and its floor, None if it has none."""
    parts = module.split(".")[1:]
    if parts[:1] == [PRIVATE]:
        room = parts[1] if len(parts) > 1 else PRIVATE
        return room, 0 if room == PRIVATE else FLOOR.get(room)
    room = parts[0] if parts else "__init__"
    return room, FLOOR[room] if room in PUBLIC else DOOR


def check(root: pathlib.Path) -> list[str]:
    """What breaks a rule in the package below `root`, one line each."""
    files = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    problems: list[str] = []
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        room, floor = floor_of(module)
        if floor is None:
            problems.append(f"{path.relative_to(root)}:1: room {room} has no floor in {__file__}")
            continue
        for line, name, top in imports(ast.parse(path.read_text()), set(files)):
            where = f"{path.relative_to(root)}:{line}:"
            first = name.split(".")[0]
            if name.startswith("."):
                problems.append(f"{where} imports are absolute, not {name}")
            elif first in HEAVY and top:
                problems.append(f"{where} import {first} inside the function that needs it")
            elif first in JAX and top and room in WITHOUT_JAX:
                problems.append(f"{where} {room} does without {first} when it is imported")
            elif first == PACKAGE:
                other, its = floor_of(name)
                graph.setdefault(module, set()).add(name)
                if room != other and (its is None or its >= floor):
                    direction = "beside" if its == floor else "above"
                    problems.append(f"{where} {room} imports {other}, a room {direction} it")
    if circle := _circle(graph):
        problems.append(f"{PACKAGE}: files import in a circle: {' -> '.join(circle)}")
    return problems


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """Returns files that import one another in a circle, or an empty list."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for other in sorted(graph.get(module, ())):
            if found := visit(other, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


def main() -> int:
    """Checks the package beside this folder, or below the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    here = pathlib.Path(__file__).resolve().parents[1]
    parser.add_argument("root", nargs="?", type=pathlib.Path, default=here)
    root = parser.parse_args().root
    if not (root / PACKAGE).is_dir():
        parser.error(f"there is no folder {PACKAGE} in {root}")
    problems = check(root)
    print("\n".join(problems) or "All imports point down the floors.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
