"""Experiments by name: the short Python files in ``configs``, or one of your own."""

from __future__ import annotations

import ast
import pathlib
import runpy
import traceback

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError


def names() -> list[str]:
    """Names the experiments that come with the library."""
    return sorted(path.stem for path in _folder().glob("*.py") if not path.stem.startswith("_"))


def about(name: str) -> str:
    """Returns the first line of what an experiment says of itself."""
    text = ast.get_docstring(ast.parse((_folder() / f"{name}.py").read_text())) or ""
    return text.partition("\n")[0]


def load_experiment(name: str) -> configs.Experiment:
    """Loads the experiment of a name or of a Python file.

    Args:
      name: such as ``pop_cpu``, or the path of a file that defines ``experiment()``, ending in
        ``.py``. The file is executed.

    Raises:
      UserError: there is no such experiment, the file defines none, or running it fails; the
        message then has the line that fails.
    """
    path = pathlib.Path(name).expanduser() if name.endswith(".py") else _folder() / f"{name}.py"
    if not path.is_file() or (not name.endswith(".py") and name not in names()):
        raise UserError(
            f"Name one of the experiments {', '.join(names())}, or a Python file: there is no "
            f"{name!r}."
        )
    try:
        make = runpy.run_path(str(path)).get("experiment")
        found = make() if callable(make) else None
    except (Exception, SystemExit) as error:
        raise UserError(_failure(path, error)) from error
    if not isinstance(found, configs.Experiment):
        raise UserError(
            f"Define a function experiment() in {path} that returns a jaxmusic.config.Experiment."
        )
    return found


def _failure(path: pathlib.Path, error: BaseException) -> str:
    """Says which line of a file failed, and how."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        number, said = error.lineno or 0, f"{type(error).__name__}: {error.msg}"
    else:
        calls = traceback.extract_tb(error.__traceback__)
        number = next((c.lineno or 0 for c in reversed(calls) if c.filename == str(path)), 0)
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    lines = path.read_text(errors="replace").splitlines()
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    where = f"line {number} of {path}" if number else str(path)
    return f"Correct {where}: {' '.join(said.split())}" + f"\n  {line}" * bool(line)


def _folder() -> pathlib.Path:
    package = pathlib.Path(__file__).resolve().parents[2]
    installed = package / "configs"
    # In a source tree, and so in an editable installation, the files are beside the package.
    return installed if installed.is_dir() else package.parent / "configs"
