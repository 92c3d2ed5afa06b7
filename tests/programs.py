"""Programs of the machine that tests need, and that may not be there."""

import shutil

import pytest


def need(program: str) -> str:
    """Where the program is; the test is skipped where it is not there."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}")
    return found
