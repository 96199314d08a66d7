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

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
_BITS = {"pred": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128}


@dataclasses.dataclass(frozen=True)
class Collective:
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


class _Instruction(NamedTuple):
    name: str
    shape: str
    op: str
    line: str


Computations = dict[str, list[_Instruction]]
_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\(")
_CALLED = re.compile(r"(?:calls|to_apply|called_computations)=\{?(%?[\w.\-]+(?:, ?%?[\w.\-]+)*)\}?")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}|(?:true|false)_computation=%?([\w.\-]+)")


def collectives(text: str, axes: dict[str, int], slices: int = 1) -> list[Collective]:
    """The collectives of one step.

    Args:
      text: `jax.stages.Compiled.as_text()`.
      axes: devices along each axis of the mesh, in order.
      slices: slices of TPUs, which lie along the first axis.

    Raises:
      ValueError: the text says something that this reader does not know.
    """
    entry, program = _parsed(text)
    found: dict[tuple[str, str, bool], Collective] = {}
    for where, name, instruction, times in _running(program, entry, 1, entry):
        made = _collective(instruction, name, times, axes, slices)
        if made is not None:
            # The pieces of one collective share its channel; the network has its own channels.
            channel = re.search(r"channel_id=(\d+)", instruction.line)
            key = channel[1] if channel else instruction.name
            found.setdefault((where, key, made.network), made)
    return list(found.values())


def _parsed(text: str) -> tuple[str, Computations]:
    program: Computations = {}
    entry = current = ""
    for line in text.splitlines():
        if not line.startswith(" "):
            if head := _HEAD.match(line):
                current = head[2]
                program[current] = []
                entry = current if head[1] else entry
        elif current and (found := _INSTRUCTION.match(line)):
            program[current].append(_Instruction(found[1], found[2], found[3], line))
    return entry, program


def _running(
    program: Computations, name: str, times: int, where: str
) -> Iterator[tuple[str, str, _Instruction, int]]:
    """(sequence of instructions, computation, instruction, times) of all that runs in a step.

    The sequence is the program itself or the body of a loop; what is called in it belongs to it.
    """
    for instruction in program[name]:
        yield where, name, instruction, times
        if instruction.op == "while":
            body = _attribute(instruction.line, "body")
            rounds = _rounds(program, name, instruction)
            yield from _running(program, body, times * rounds, body)
            continue
        called = [n for group in _CALLED.findall(instruction.line) for n in group.split(",")]
        for some, one in _BRANCHES.findall(instruction.line):
            called += [*some.split(","), one]
        for each in (n.strip().lstrip("%") for n in called):
            if each in program:
                yield from _running(program, each, times, where)


def _attribute(line: str, name: str) -> str:
    found = re.search(rf"\b{name}=%?([\w.\-]+)", line)
    if found is None:
        raise ValueError(f"no {name} in {line[:200]}")
    return found[1]


def _rounds(program: Computations, name: str, loop: _Instruction) -> int:
    """How often a loop goes round: as the compiler says, or as its counter is compared."""
    if known := re.search(r'known_trip_count"?:\{"?n"?:"(\d+)"', loop.line):
        return int(known[1])
    condition, body = (program[_attribute(loop.line, n)] for n in ("condition", "body"))
    test = next((i for i in condition if i.op == "compare"), None)
    if test is None or "direction=LT" not in test.line:
        raise ValueError(f"a loop that does not count up to a number: {loop.line[:200]}")
    counter, limit = _operands(test)
    # Places in the tuple that the loop carries: of the counter, and of a limit beside it.
    index = int(_attribute(_named(condition, counter).line, "index"))
    start = _operands(_named(program[name], _operands(loop)[0]))
    root = next(i for i in body if i.line.lstrip().startswith("ROOT"))
    step = _named(body, _operands(root)[index])
    by = next((c for o in _operands(step) if (c := _constant(body, o)) is not None), 1)
    first = _constant(program[name], start[index]) or 0
    end = _constant(condition, limit)
    if end is None:
        place = int(_attribute(_named(condition, limit).line, "index"))
        end = _constant(program[name], start[place])
    if end is None:
        raise ValueError(f"a loop whose end is not a number: {loop.line[:200]}")
    return -(-(end - first) // by)


def _named(computation: list[_Instruction], name: str) -> _Instruction:
    return next(i for i in computation if i.name == name)


def _operands(instruction: _Instruction) -> list[str]:
    inside = instruction.line.split(f" {instruction.op}(", 1)[1].split(")", 1)[0]
    return re.findall(r"%([\w.\-]+)", inside) or [n.strip() for n in inside.split(",")]


def _constant(computation: list[_Instruction], name: str) -> int | None:
    """The whole number that a value is, if the text says so."""
    made = _named(computation, name)
    while made.op in ("copy", "bitcast"):
        made = _named(computation, _operands(made)[0])
    found = re.search(r" constant\((-?\d+)\)", made.line)
    return int(found[1]) if found else None


def _collective(
    instruction: _Instruction, computation: str, times: int, axes: dict[str, int], slices: int
) -> Collective | None:
    kind, line = instruction.op.removesuffix("-start"), instruction.line
    arrays, devices = _arrays(instruction.shape), math.prod(axes.values())
    if instruction.op == "send" and "_xla_megascale_transfer_type" in line:
        # What goes over the network: XLA hands it to a runtime of its own.
        form = re.search(r'_xla_megascale_transfer_type="(\w+)"', line)
        kind = form[1].lower().replace("_", "-") if form else ""
        kind = kind if kind in KINDS else "all-reduce"
        dtype, size = arrays[0]
        sent = size * _share(kind, slices)
        return Collective(kind, sent, times, (next(iter(axes)),), True, dtype)
    if kind not in KINDS:
        return None
    if instruction.op in ("all-gather-start", "collective-permute-start"):
        # (operands, results, and scalars that the hardware counts with)
        arrays = [a for a in arrays if not (a[0] == "u32" and a[1] <= 4)]
        arrays = arrays[len(arrays) // 2 :]
    size = sum(bits for _, bits in arrays)
    if kind == "collective-permute":
        pairs = re.search(r"source_target_pairs=\{([\d,{}]*)\}", line)
        groups = np.array(_numbers(pairs[1] if pairs else "")).reshape(-1, 2)
        sent = size * len(groups) / max(devices // slices, len(groups))
    else:
        groups = _groups(line, devices)
        if kind == "reduce-scatter":
            size *= groups.shape[1]
        elif kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
            # How XLA:TPU writes a fused reduce-scatter: the sum, and each device's share of it.
            kind = "reduce-scatter"
        sent = size * _share(kind, groups.shape[1])
    largest = max(arrays, key=lambda array: array[1], default=("", 0))[0]
    return Collective(kind, sent, times, _varying(groups, axes, slices), False, largest)


def _share(kind: str, n: int) -> float:
    """Share of an array that each of n devices sends."""
    return (n - 1) / n * (2 if kind == "all-reduce" else 1)


def _arrays(shape: str) -> list[tuple[str, float]]:
    """(type, bytes) of each array of a shape."""
    found = []
    for dtype, sizes in re.findall(r"\b([a-z]+\d+[a-z0-9]*|pred)\[([\d,]*)\]", shape):
        bits = _BITS.get(dtype) or int(re.sub(r"\D.*", "", dtype.lstrip("abcdefsu")) or 8)
        count = math.prod(int(size) for size in sizes.split(",") if size)
        found.append((dtype, count * bits / 8))
    return found


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _groups(line: str, count: int) -> np.ndarray:
    """The groups of devices among which a collective goes, int [groups, devices of each].

    XLA writes them in three ways: ``{{0,1},{2,3}}``; ``[4,2]<=[2,4]T(1,0)``, which is all numbers
    reshaped, turned and reshaped again; and ``mesh['a'=2,'b'=4] {'b'}``, which is all numbers in a
    mesh, grouped along axes of it.
    """
    if found := re.search(r"replica_groups=\[([\d,]+)\]<=(\S+?)(?:, |$)", line):
        return _iota(found[2]).reshape(_numbers(found[1]))
    if found := re.search(
        r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((\S+)\))? \{([^}]*)\}", line
    ):
        return _along(found[1], found[2], found[3])
    text = re.search(r"replica_groups=(\{\{[\d,{}]*\}\}|\{\})", line)
    if text is None:
        raise ValueError(f"no groups of devices that can be read: {line[:200]}")
    groups = [_numbers(group) for group in re.findall(r"\{([\d,]+)\}", text[1])]
    return np.array(groups) if groups else np.arange(count)[None]


def _iota(text: str) -> np.ndarray:
    """All numbers as ``[2,4]T(1,0)`` has them: reshaped and perhaps turned."""
    shape, _, turned = text.partition("T")
    ids = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
    return ids.transpose(_numbers(turned)) if turned else ids


def _along(mesh: str, order: str | None, wanted: str) -> np.ndarray:
    """Groups along axes of a mesh, or along a part of one, as in ``'a':(2)4``: 4 after 2."""
    sizes = [(name, int(n)) for name, n in re.findall(r"'([^']+)'=(\d+)", mesh)]
    ids = np.arange(math.prod(n for _, n in sizes))
    if order:
        ids = (_iota(order) if "[" in order else np.array(_numbers(order))).flatten()
    parts = re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", wanted)
    shape: list[int] = []
    grouped = {}
    for name, n in sizes:
        before, size = next(
            ((int(b or 1), int(s or n)) for axis, b, s in parts if axis == name), (n, 1)
        )
        grouped[name] = len(shape) + 1
        shape += [before, size, n // (before * size)]
    last = [grouped[name] for name, _, _ in parts]
    ids = ids.reshape(shape)
    ids = ids.transpose([i for i in range(len(shape)) if i not in last] + last)
    return ids.reshape(-1, math.prod(shape[i] for i in last))


def _varying(groups: np.ndarray, axes: dict[str, int], slices: int) -> tuple[str, ...]:
    """Axes of the mesh along which the devices of a group differ."""
    sizes = np.array(list(axes.values()))
    if slices > 1 and groups.max() < math.prod(sizes) // slices:
        # The program of one slice counts its own devices.
        sizes[0] //= slices
    places = np.unravel_index(groups, tuple(int(size) for size in sizes))
    return tuple(name for name, place in zip(axes, places) if (place != place[:, :1]).any())
