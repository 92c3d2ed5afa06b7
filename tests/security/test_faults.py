"""Faults inside a worker, behind a real Envoy that lets failures of ours pass: none of them lets a request pass."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.stack import Stack, Variant, running_stack
from tests.security.conftest import FAILURES_PASS, POLICIES
from tests.security.faults.sitecustomize import ERRORS, GUARD, PHASES

FAULTS = Path(__file__).parent / "faults"


@pytest.fixture(name="stack", scope="module")
def _stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    variant = Variant(envoy=FAILURES_PASS, environment={"PYTHONPATH": str(FAULTS)})
    with running_stack(tmp_path_factory.mktemp("faults"), POLICIES, variant) as running:
        yield running


def ask(stack: Stack, target: str, fault: str | None = None) -> Reply:
    """A request that meets this fault."""
    headers = [] if fault is None else [("x-fault", fault)]
    return http1(stack.identities.caller("web"), stack.port, Ask(target=target, headers=headers))


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase != "denial_body"])
def test_resp_06_a_fault_in_any_phase_denies_where_failures_pass(stack: Stack, phase: str, error: str) -> None:
    """What is allowed without the fault, and what is not: the service sees neither."""
    assert ask(stack, "/public/a").status == 200
    before = len(stack.http.seen())
    for target in ("/public/a", "/admin"):
        reply = ask(stack, target, f"{phase} {error}")
        assert (reply.status, reply.reason) == (500, "internal_error")
        assert b"secret" not in reply.body
    assert len(stack.http.seen()) == before
    assert ask(stack, "/public/a").status == 200


@pytest.mark.parametrize("error", ERRORS)
def test_resp_06_a_fault_in_the_making_of_denials_denies_too(stack: Stack, error: str) -> None:
    """The denial that was made at the start is sent."""
    before = len(stack.http.seen())
    assert ask(stack, "/admin", f"denial_body {error}").status == 500
    assert len(stack.http.seen()) == before


@pytest.mark.parametrize("error", ["KeyError", "OSError"])
def test_resp_06_without_the_guard_a_fault_lets_a_request_pass(stack: Stack, error: str) -> None:
    """What the tests above would see if failures were not turned into denials: the service is reached."""
    before = len(stack.http.seen())
    assert ask(stack, "/admin").status == 403
    assert ask(stack, "/admin", f"{GUARD} {error}").status == 200
    assert len(stack.http.seen()) == before + 1
