"""What holds for all tests."""

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests.transport import TRANSPORT, starts_a_stack

# No deadline: how long an example takes says something of the machine only. Outside CI, each run looks further.
settings.register_profile("authz", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("authz")

NO_SKIPS = "AUTHZ_TESTS_NO_SKIPS"
"""Set where every outside program is there: a skipped test then fails."""


@pytest.fixture(autouse=True, scope="session")
def _as_long_as_it_takes() -> Iterator[None]:
    """No decision in a test's own process is late because the machine is slow; servers go by the real limit."""
    from authz_server.envoy import service

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "LONGEST_DECISION_S", 600.0)
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a certain transport, leave out what would only run as it has run before."""
    if TRANSPORT is None:
        return
    config.hook.pytest_deselected(items=[item for item in items if not starts_a_stack(item)])
    items[:] = filter(starts_a_stack, items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """See to skips of single tests."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """See to skips of whole modules."""
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    expected_to_fail = hasattr(report, "wasxfail")
    if not os.environ.get(NO_SKIPS) or report.outcome != "skipped" or expected_to_fail:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"skipped, which {NO_SKIPS} does not allow: {reason}"
