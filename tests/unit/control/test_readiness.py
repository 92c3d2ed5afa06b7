"""What `/readyz` says."""

import pytest

from authz_server.control.readiness import Policies, Readiness, Workers, readiness

GOOD = Policies("r1", 0)
ALL = Workers(2, 2)


def of(policies: Policies = GOOD, workers: Workers = ALL, draining: bool = False, **lacking: bool) -> Readiness:
    """Readiness where all is well but what is given; `lacking` names issuers."""
    return readiness(
        policies,
        workers,
        {f"issuer {name} has no keys": required for name, required in lacking.items()},
        [],
        draining=draining,
    )


def test_with_everything_there_it_is_ready() -> None:
    """And has nothing to complain about."""
    assert of() == Readiness("ready", (), (), GOOD, ALL)


@pytest.mark.parametrize(
    ("state", "missing"),
    [
        (of(Policies(None, 0)), "no policies have been loaded"),
        (of(Policies(None, 0), Workers(0, 2)), "no policies have been loaded"),
        (of(Policies(None, 2)), "no policies have been loaded: 2 problems"),
        (of(workers=Workers(0, 2)), "no worker serves"),
        (of(corp=True), "issuer corp has no keys"),
        (of(draining=True), "the server is shutting down"),
    ],
)
def test_what_it_cannot_do_without_is_missing(state: Readiness, missing: str) -> None:
    """Each alone makes it not ready, and is named."""
    assert (state.status, state.missing) == ("not_ready", (missing,))


@pytest.mark.parametrize(
    ("state", "degraded"),
    [
        (of(Policies("r1", 1)), "1 problem in the policy files; the last good policies decide"),
        (
            of(Policies("r1", 2, None, "orders.yaml:1:7: unknown_kind", "2026-03-02T09:00:00Z")),
            "2 problems (orders.yaml:1:7: unknown_kind) in the policy files; stale policies decide,"
            " kept by an earlier run, in which they began to decide at 2026-03-02T09:00:00Z",
        ),
        (of(workers=Workers(1, 2)), "1 of 2 workers serve"),
        (of(corp=False), "issuer corp has no keys"),
        (readiness(GOOD, ALL, {}, ["ca.pem: empty"], draining=False), "ca.pem: empty"),
    ],
)
def test_what_should_be_mended_is_degraded(state: Readiness, degraded: str) -> None:
    """Requests are decided all the same."""
    assert (state.status, state.degraded) == ("degraded", (degraded,))
