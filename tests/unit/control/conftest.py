"""A server of a test alone."""

from pathlib import Path

import pytest

from tests.unit.control.server_process import Served


@pytest.fixture(name="other")
def _other(tmp_path: Path) -> Served:
    """A server that a test may do with as it likes."""
    served = Served(tmp_path)
    served.prepare()
    return served
