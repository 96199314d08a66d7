"""JSON from outside, which may hold anything: parsed, and checked against a type.

Types are those of JSON (`str`, `int`, `float`, `bool`, `None`), ``list[T]``, ``dict[str, T]``,
``tuple[A, B]`` for a list of that length, unions, `Any`, and a `TypedDict` for an object that has
at least its keys, except those marked `NotRequired`. ``Annotated[int, "[1, inf)"]`` is a number in
an interval of `core.ranges`.
"""

from __future__ import annotations

import functools
import json
import reprlib
import types
import typing
from typing import Annotated, Any, NotRequired

from etils import epath

from jaxmusic._src.core import ranges
from jaxmusic._src.core.errors import UserError

RESTORE = "Restore the original file"
"""What to do where a file that this library wrote is damaged."""
_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    types.NoneType: "null",
}
_MOST = 2**63
"""Whole numbers from here on have no place in an array."""


def read(path: epath.Path, kind: Any, remedy: str = RESTORE) -> Any:
    """Reads a JSON file.

    Args:
      path: the file, on local disk or in a bucket.
      kind: type of its content.
      remedy: what to do where the file is missing or wrong, which opens the message.

    Raises:
      UserError: there is no such file, or its content is of another type.
    """
    return parse(content(path, remedy), kind, path, remedy)


def content(path: epath.Path, remedy: str = RESTORE) -> bytes:
    """Reads a file whole; raises UserError where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{remedy}: there is no {path}.") from None
    except IsADirectoryError:
        raise UserError(f"{remedy}: {path} is a folder.") from None


def parse(text: str | bytes, kind: Any, where: object, remedy: str = RESTORE) -> Any:
    """Parses JSON; `where` says what it is, as in the name of its file. See `read`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise UserError(f"{remedy}: {where} is nested too deep.") from None
    except ValueError as error:
        raise UserError(f"{remedy}: {where} is no JSON ({error}).") from None
    return checked(value, kind, where, remedy)


def checked(value: Any, kind: Any, where: object, remedy: str = RESTORE) -> Any:
    """Returns a value that has been parsed, if it is of a type; else raises UserError."""
    try:
        _check(value, kind, "")
    except TypeError as error:
        raise UserError(f"{remedy}: {where} {' '.join(str(error).split())}.") from None
    return value


def _check(value: Any, kind: Any, at: str) -> None:
    """Raises TypeError with what is wrong with the part of a file that is called `at`."""
    args, origin = typing.get_args(kind), typing.get_origin(kind)
    if origin is NotRequired:
        _check(value, args[0], at)
    elif origin is Annotated:
        _check(value, args[0], at)
        if not ranges.interval(args[1]).has(value):
            raise _wrong(value, at, str(ranges.interval(args[1])))
    elif origin is types.UnionType:
        if not any(_fits(value, one, at) for one in args):
            raise _wrong(value, at, " or ".join(_NAMES.get(one, "an object") for one in args))
    elif typing.is_typeddict(kind):
        _of_type(value, dict, at, "an object")
        for name, one in _hints(kind).items():
            if name in value:
                _check(value[name], one, f"{at}.{name}" if at else name)
            elif typing.get_origin(one) is not NotRequired:
                raise TypeError(f"has no {name!r}" + f" in {at}" * bool(at))
    elif origin is tuple:
        _of_type(value, list, at, "a list")
        if len(value) != len(args):
            raise _wrong(value, at, f"a list of {len(args)}")
        for number, (one, part) in enumerate(zip(args, value)):
            _check(part, one, f"{at}[{number}]")
    elif origin is list:
        _of_type(value, list, at, "a list")
        for number, part in enumerate(value):
            _check(part, args[0], f"{at}[{number}]")
    elif origin is dict:
        _of_type(value, dict, at, "an object")
        for name, part in value.items():
            _check(part, args[1], f"{at}.{name}" if at else name)
    elif kind is not Any:
        _scalar(value, kind, at)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _scalar(value: Any, kind: Any, at: str) -> None:
    whole = type(value) is int
    if not (type(value) is kind or (whole and kind is float)) or (whole and abs(value) >= _MOST):
        raise _wrong(value, at, _NAMES[kind])


def _of_type(value: Any, kind: type, at: str, name: str) -> None:
    if type(value) is not kind:
        raise _wrong(value, at, name)


def _fits(value: Any, kind: Any, at: str) -> bool:
    try:
        _check(value, kind, at)
    except TypeError:
        return False
    return True


def _wrong(value: Any, at: str, wanted: str) -> TypeError:
    return TypeError(f"has {reprlib.repr(value)}{f' as {at}' * bool(at)}, which must be {wanted}")
