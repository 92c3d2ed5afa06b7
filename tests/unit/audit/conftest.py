"""The audit of a control process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.audit.deliveries import Audit


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    """The audit of a control process."""
    audit = Audit(tmp_path)
    yield audit
    audit.die()
