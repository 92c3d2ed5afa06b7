"""One stack for each module of tests, with the policies that the module names."""

from collections.abc import Iterator

import pytest

from tests.envoy.stack import Stack, Variant, running_stack


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Envoy, the server and the echo services, ready; the module's POLICIES and, if it has one, VARIANT."""
    variant: Variant = getattr(request.module, "VARIANT", Variant())
    # A short path: Unix sockets have names of at most 107 bytes.
    with running_stack(tmp_path_factory.mktemp("stack"), request.module.POLICIES, variant) as running:
        yield running
