"""Which transport the tests of whole stacks run on."""

import os

import pytest

TRANSPORT = os.environ.get("AUTHZ_TESTS_TRANSPORT")
"""That of all stacks that do not choose one themselves; only tests that start a stack run then."""


def starts_a_stack(item: pytest.Item) -> bool:
    """Whether a test has Envoy and the server in front of services."""
    fixtures = getattr(item, "fixturenames", ())
    module = item.getparent(pytest.Module)
    return "stack" in fixtures or (module is not None and hasattr(module.obj, "running_stack"))
