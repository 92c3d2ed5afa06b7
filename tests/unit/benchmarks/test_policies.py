"""The policies that are measured."""

from pathlib import Path

import pytest

from authz_server.policy.loader import load_policies
from benchmarks.policies import Policies, spiffe_id, write_policies
from benchmarks.workloads import WORKLOADS, Setup


@pytest.mark.parametrize(
    ("policies", "of_the_one_who_asks", "conditions"),
    [
        (Policies(40), 2, 0),
        (Policies(40, callers=1), 40, 0),
        (Policies(40, users=True, conditions=5), 2, 5),
        (Policies(40, users=True, callers=0), 0, 0),
    ],
)
def test_policies_have_the_shape_that_they_say(
    tmp_path: Path, policies: Policies, of_the_one_who_asks: int, conditions: int
) -> None:
    """They load, and their rules are about so many callers, with so many conditions."""
    write_policies(tmp_path, policies)
    assert not load_policies(tmp_path).problems
    lines = "".join(path.read_text() for path in tmp_path.iterdir()).splitlines()
    caller = spiffe_id().removesuffix("/sa/web")
    assert sum(caller in line for line in lines) == of_the_one_who_asks
    assert len({line for line in lines if "when:" in line}) == conditions


def test_every_workload_of_ours_has_a_baseline() -> None:
    """As many in flight are asked of the constant server."""
    constant = {workload.in_flight for workload in WORKLOADS if workload.server == "constant"}
    assert {workload.in_flight for workload in WORKLOADS if isinstance(workload.server, Setup)} <= constant
