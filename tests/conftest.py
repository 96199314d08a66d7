"""What all tests share."""

import os
import pathlib

import pytest


@pytest.fixture(scope="session")
def music() -> pathlib.Path:
    """The folder of real music, from JAXMUSIC_DATA."""
    folder = os.environ.get("JAXMUSIC_DATA", "")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("JAXMUSIC_DATA does not name a folder of real music")
    return pathlib.Path(folder)
