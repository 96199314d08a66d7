"""The commands, Python examples and links of the documents."""

import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
_INLINE = re.compile(r"`(jaxmusic [^`\n]+)`|^    (jaxmusic .*)$", re.M)


class Example(NamedTuple):
    """A command or a block of Python, and where it stands."""

    page: str
    line: int
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Example]:
    """All code blocks of a language."""
    return [
        Example(page.name, _line(text, match.start()) + 1, match[2])
        for page in PAGES
        for text in [page.read_text()]
        for match in _BLOCK.finditer(text)
        if match[1] == language
    ]


def commands() -> list[Example]:
    """All command lines that begin with `jaxmusic`, in blocks of code and in sentences."""
    found = [
        Example(block.page, block.line + number, line)
        for block in blocks("sh")
        for number, line in _lines(block.text)
        if line.startswith("jaxmusic ")
    ]
    for page in PAGES:
        text = _BLOCK.sub(lambda block: "\n" * block[0].count("\n"), page.read_text())
        found += [
            Example(page.name, _line(text, m.start()), m[1] or m[2]) for m in _INLINE.finditer(text)
        ]
    return found


def words(command: str) -> list[str]:
    """The arguments of a command line, without its comment."""
    return shlex.split(command, comments=True)[1:]


def links() -> list[tuple[pathlib.Path, Example]]:
    """All links of the pages to files and headings, with their pages."""
    return [
        (page, Example(page.name, _line(text, match.start()), match[1]))
        for page in PAGES
        for text in [page.read_text()]
        for match in re.finditer(r"\]\(([^)\s]+)\)", text)
        if not re.match(r"\w+:", match[1])
    ]


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = _BLOCK.sub("", page.read_text())
    names = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        names.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return names


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _lines(text: str) -> list[tuple[int, str]]:
    """Lines of shell code by number, those that end in a backslash with the next."""
    out: list[tuple[int, str]] = []
    whole, start = "", 0
    for number, line in enumerate(text.splitlines()):
        start = start if whole else number
        whole += line.removesuffix("\\")
        if not line.endswith("\\"):
            out.append((start, whole.strip()))
            whole = ""
    return out
