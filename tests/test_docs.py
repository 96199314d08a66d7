"""The documents: their commands are accepted, their Python parses, their links lead somewhere."""

import ast
import os
import pathlib
import subprocess
import sys

import documents
import pytest

from jaxmusic._src.commands import cli

SCRIPT = pathlib.Path(__file__).with_name("docs_commands.py")


def test_commands_are_accepted(tmp_path):
    """All of them in one process, for a reader who has songs, datasets and runs."""
    environment = os.environ | {"HOME": str(tmp_path)}
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    *refused, count = done.stdout.splitlines() or [done.stderr]
    assert not refused, "\n".join(refused)
    assert int(count) > 60


@pytest.mark.quick
def test_commands_have_names_that_there_are():
    names = {documents.words(c.text)[0]: str(c) for c in documents.commands()}
    assert set(names) <= set(cli.COMMANDS), names
    assert set(cli.COMMANDS) - {"list"} <= set(names)


@pytest.mark.quick
def test_python_parses():
    for block in documents.blocks("python"):
        ast.parse(block.text, str(block))


@pytest.mark.quick
def test_links_lead_to_files_and_headings():
    lost = []
    for page, link in documents.links():
        file, _, anchor = link.text.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in documents.anchors(target)):
            lost.append(f"{link}: {link.text}")
    assert not lost


def test_anchors_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `code`, and [link](x.md)\n```sh\n# no heading\n```\n## C-D e_f\n")
    assert documents.anchors(page) == {"a-code-and-link", "c-d-e_f"}
