"""What a compiled program sends between devices, read from its text.

A collective inside of a loop counts as often as the loop goes round; one that starts in one place
and ends in another, or that the compiler does piece by piece beside other work, counts once.

Bytes are those that each chip sends over its links, by algorithms that send the least, with n
devices in a group (Chan et al. 2007, "Collective communication"):

- all-gather: (n - 1) / n of the whole result;
- reduce-scatter: (n - 1) / n of the whole operand;
- all-reduce: both, 2 (n - 1) / n of the operand;
- all-to-all: (n - 1) / n of the operand;
- collective-permute: the operand, times the share of devices that send.

Padding that a layout adds is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")


class Collective(NamedTuple):
    """One collective of a program.

    Attributes:
      kind: one of `KINDS`.
      bytes: bytes that each chip sends, each time.
      times: times that it runs in a step.
      axes: axes of the mesh over which it goes, in the mesh's order.
      network: whether it crosses from one slice to another.
      dtype: type of its largest array.
    """

    kind: str
    bytes: float
    times: int
    axes: tuple[str, ...]
    network: bool
    dtype: str


Computation = dict[str, re.Match[str]]
"""Instructions by name, as `_INSTRUCTION` matches them."""
_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(
    r"\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = (?P<shape>\(.*?\)|\S+) (?P<op>[\w\-]+)\("
    r"(?P<operands>[^)]*)\)?(?P<rest>.*)"
)
_CALLED = re.compile(r"(?:calls|to_apply|\w+_computations?)=\{?(%?[\w.\-]+(?:, ?%?[\w.\-]+)*)\}?")


def collectives(text: str, axes: dict[str, int], slices: int = 1) -> list[Collective]:
    """Returns the collectives of one step.

    Args:
      text: `jax.stages.Compiled.as_text()`.
      axes: devices along each axis of the mesh, in order.
      slices: slices of TPUs, which lie along the first axis.

    Raises:
      ValueError: the text contains a loop or groups of devices that this reader does not know.
    """
    program: dict[str, Computation] = {}
    entry = current = ""
    for line in text.splitlines():
        if head := None if line.startswith(" ") else _HEAD.match(line):
            current = head[2]
            program[current] = {}
            entry = current if head[1] else entry
        elif current and (made := _INSTRUCTION.match(line)):
            program[current][made["name"]] = made
    found: dict[tuple[str, str, bool], Collective] = {}
    for where, name, instruction, times in _running(program, entry, 1, entry):
        sent = _collective(instruction, name, times, axes, slices)
        if sent is not None:
            # The pieces of one collective share its channel; the network has its own channels.
            channel = re.search(r"channel_id=(\d+)", instruction["rest"])
            key = channel[1] if channel else instruction["name"]
            found.setdefault((where, key, sent.network), sent)
    return list(found.values())


def _running(
    program: dict[str, Computation], name: str, times: int, where: str
) -> Iterator[tuple[str, str, re.Match[str], int]]:
    """Returns (sequence, computation, instruction, times) of every instruction of a step.

    The sequence is the program itself or the body of a loop, with all that is called in it.
    """
    for instruction in program[name].values():
        yield where, name, instruction, times
        if instruction["op"] == "while":
            body = _attribute(instruction, "body")
            rounds = times * _rounds(program, name, instruction)
            yield from _running(program, body, rounds, body)
            continue
        for called in _CALLED.findall(instruction["rest"]):
            for each in re.findall(r"[\w.\-]+", called):
                if each in program:
                    yield from _running(program, each, times, where)


def _attribute(instruction: re.Match[str], name: str) -> str:
    found = re.search(rf"\b{name}=%?([\w.\-]+)", instruction["rest"])
    if found is None:
        raise ValueError(f"no {name} in {instruction[0][:200]}")
    return found[1]


def _rounds(program: dict[str, Computation], name: str, loop: re.Match[str]) -> int:
    """Returns how often a loop goes round: as the compiler says, or as its counter is compared."""
    if known := re.search(r'known_trip_count"?:\{"?n"?:"(\d+)"', loop["rest"]):
        return int(known[1])
    condition, body = (program[_attribute(loop, n)] for n in ("condition", "body"))
    test = next((i for i in condition.values() if i["op"] == "compare"), None)
    if test is None or "direction=LT" not in test["rest"]:
        raise ValueError(f"a loop that does not count up to a number: {loop[0][:200]}")
    counter, limit = _operands(test)
    # The place of the counter in the tuple that the loop carries.
    index = int(_attribute(condition[counter], "index"))
    start = _operands(program[name][_operands(loop)[0]])[index]
    root = next(i for i in body.values() if i["root"])
    steps = [_constant(body, o) for o in _operands(body[_operands(root)[index]])]
    end, by = _constant(condition, limit), next(filter(None, steps), 1)
    if end is None:
        raise ValueError(f"a loop whose end is not a number: {loop[0][:200]}")
    return -(-(end - (_constant(program[name], start) or 0)) // by)


def _operands(instruction: re.Match[str]) -> list[str]:
    operands = instruction["operands"]
    return re.findall(r"%([\w.\-]+)", operands) or operands.split(", ")


def _constant(computation: Computation, name: str) -> int | None:
    """Returns the whole number that a value is, if the text says so."""
    made = computation[name]
    while made["op"] in ("copy", "bitcast"):
        made = computation[_operands(made)[0]]
    number = re.fullmatch(r"-?\d+", made["operands"])
    return int(number[0]) if made["op"] == "constant" and number else None


def _collective(
    instruction: re.Match[str], computation: str, times: int, axes: dict[str, int], slices: int
) -> Collective | None:
    op, rest, devices = instruction["op"], instruction["rest"], math.prod(axes.values())
    arrays = _arrays(instruction["shape"])
    network = re.search(r'_xla_megascale_transfer_type="(\w+)"', rest) if op == "send" else None
    if network:
        # What goes over the network: XLA hands it to a runtime of its own.
        kind = network[1].lower().replace("_", "-")
        kind = kind if kind in KINDS else "all-reduce"
        dtype, size = arrays[0]
        sent = size * _share(kind, slices)
        return Collective(kind, sent, times, (next(iter(axes)),), True, dtype)
    kind = op.removesuffix("-start")
    if kind not in KINDS:
        return None
    if op in ("all-gather-start", "collective-permute-start"):
        # (operands, results, and scalars that the hardware counts with)
        arrays = [a for a in arrays if not (a[0] == "u32" and a[1] <= 4)]
        arrays = arrays[len(arrays) // 2 :]
    size = sum(bits for _, bits in arrays)
    if kind == "collective-permute":
        pairs = re.search(r"source_target_pairs=\{([\d,{}]*)\}", rest)
        groups = np.array(_numbers(pairs[1] if pairs else "")).reshape(-1, 2)
        sent = size * len(groups) / max(devices // slices, len(groups))
    else:
        groups = _groups(rest, devices)
        if kind == "reduce-scatter":
            size *= groups.shape[1]
        elif kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
            # How XLA:TPU writes a fused reduce-scatter: the sum, and each device's share of it.
            kind = "reduce-scatter"
        sent = size * _share(kind, groups.shape[1])
    largest = max(arrays, key=lambda array: array[1])[0]
    return Collective(kind, sent, times, _varying(groups, axes, slices), False, largest)


def _share(kind: str, n: int) -> float:
    """Returns the share of an array that each of n devices sends."""
    return (n - 1) / n * (2 if kind == "all-reduce" else 1)


def _arrays(shape: str) -> list[tuple[str, float]]:
    """Returns (type, bytes) of each array of a shape."""
    found = []
    for dtype, sizes in re.findall(r"\b([a-z]+\d+[a-z0-9]*|pred)\[([\d,]*)\]", shape):
        bits = (_numbers(dtype) or [8])[0]
        found.append((dtype, math.prod(_numbers(sizes)) * bits / 8))
    return found


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _groups(line: str, count: int) -> np.ndarray:
    """Returns the groups of devices of a collective, int [groups, devices of each].

    XLA writes them in three ways: ``{{0,1},{2,3}}``; ``[4,2]<=[2,4]T(1,0)``, which is all numbers
    reshaped, transposed and reshaped again; and ``mesh['a'=2,'b'=4] {'b'}``, which is all numbers
    in a mesh, grouped along axes of it, or along a part of one, as in ``'a':(2)4``: 4 after 2.
    """
    if found := re.search(r"replica_groups=\[([\d,]+)\]<=(\S+?)(?:, |$)", line):
        return _iota(found[2]).reshape(_numbers(found[1]))
    if found := re.search(
        r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((\S+)\))? \{([^}]*)\}", line
    ):
        mesh, order, grouped = found.groups()
        sizes = {name: int(n) for name, n in re.findall(r"'([^']+)'=(\d+)", mesh)}
        parts = {
            name: (int(before or 1), int(size or sizes[name]))
            for name, before, size in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", grouped)
        }
        shape: list[int] = []
        for name, n in sizes.items():
            before, size = parts.get(name, (n, 1))
            shape += [before, size, n // (before * size)]
        last = [3 * list(sizes).index(name) + 1 for name in parts]
        ids = _iota(order) if order else np.arange(math.prod(shape))
        ids = np.moveaxis(ids.reshape(shape), last, range(-len(last), 0))
        return ids.reshape(-1, math.prod(size for _, size in parts.values()))
    text = re.search(r"replica_groups=(\{\{[\d,{}]*\}\}|\{\})", line)
    if text is None:
        raise ValueError(f"no groups of devices that can be read: {line[:200]}")
    groups = [_numbers(group) for group in re.findall(r"\{([\d,]+)\}", text[1])]
    return np.array(groups) if groups else np.arange(count)[None]


def _iota(text: str) -> np.ndarray:
    """Returns the numbers of a list, or of a shape such as ``[2,4]T(1,0)``, transposed."""
    if "[" not in text:
        return np.array(_numbers(text))
    shape, _, order = text.partition("T")
    ids = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
    return ids.transpose(_numbers(order)) if order else ids


def _varying(groups: np.ndarray, axes: dict[str, int], slices: int) -> tuple[str, ...]:
    """Returns the axes of the mesh along which the devices of a group differ."""
    sizes = list(axes.values())
    if slices > 1 and groups.max() < math.prod(sizes) // slices:
        # The program of one slice counts its own devices.
        sizes[0] //= slices
    places = np.unravel_index(groups, sizes)
    return tuple(name for name, place in zip(axes, places) if (place != place[:, :1]).any())
