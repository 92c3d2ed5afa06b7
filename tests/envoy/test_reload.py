"""Policies are edited while requests run: none fails, one revision decides each, and a bad edit changes nothing."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, http1
from tests.envoy.stack import Stack
from tests.envoy.traffic import traffic
from tests.json_lines import Line

POLICY = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: the-front-reads-orders
        effect: allow
        from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
        to: [{paths: ["/orders"]}]
"""
POLICIES = {"orders.yaml": POLICY}
READ_ORDERS = Ask("GET", "/orders")
# What an edit takes to decide, by the promise that we make; a machine that is busy may delay one, but not all of these.
WITHIN_S = 1.0
TRIES = 5


def replace(path: Path, text: str) -> None:
    """Save as most editors do: a new file in place of the old one."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def overwrite(path: Path, text: str) -> None:
    """Save as some editors do: the same file with other contents."""
    path.write_text(text)


def records_since(stack: Stack, begun: datetime) -> list[Line]:
    """The records of decisions that were made later."""
    return [line for line in stack.records() if datetime.fromisoformat(line["time"]) > begun]


@pytest.fixture(name="policy")
def _policy(stack: Stack) -> Iterator[Path]:
    """The policy's file, which afterwards is as it was."""
    path = stack.policies / "orders.yaml"
    original = path.read_text()
    yield path
    restore(stack, path, original)


def restore(stack: Stack, policy: Path, original: str) -> None:
    """Bring the policy back, and wait until it decides on all workers."""
    replace(policy, original)
    with traffic(stack.identities.caller("web"), stack.port, READ_ORDERS) as requests:
        requests.wait_for_change(time.monotonic(), lambda reply: reply.status == 200)


@pytest.mark.parametrize("save", [replace, overwrite])
def test_an_edit_decides_within_a_second_and_fails_no_request(
    stack: Stack, policy: Path, save: Callable[[Path, str], None]
) -> None:
    """Before it all are allowed, afterwards all are denied, and each revision decides in one way."""
    original = policy.read_text()

    def seconds() -> float:
        restore(stack, policy, original)
        return edited(stack, policy, save)

    assert any(seconds() < WITHIN_S for _ in range(TRIES))


def edited(stack: Stack, policy: Path, save: Callable[[Path, str], None]) -> float:
    """After how many seconds an edit that denies what was allowed decides, on all workers and for good."""
    begun = datetime.now(UTC)
    with traffic(stack.identities.caller("web"), stack.port, READ_ORDERS) as requests:
        at = time.monotonic()
        save(policy, policy.read_text().replace("/orders", "/nothing"))
        change = requests.wait_for_change(at, lambda reply: reply.status == 403)
    assert requests.failures() == []
    # Neither revision answers otherwise: anything else is a failure of ours, or Envoy's word in our stead.
    assert set(requests.statuses()) == {200, 403}
    assert {sent.reply.status for sent in requests.sent() if sent.reply and sent.at < at} == {200}
    wait_until(lambda: len(records_since(stack, begun)) >= len(requests.sent()), 20, "one record for each request")
    records = records_since(stack, begun)
    assert len(records) == len(requests.sent())
    decided = {(line["revision"], line["decision"]) for line in records}
    assert sorted(decision for _, decision in decided) == ["allow", "deny"]
    assert len({revision for revision, _ in decided}) == 2
    return change.took_s


def test_a_bad_edit_changes_no_decision_and_is_explained(stack: Stack, policy: Path) -> None:
    """The last good policies decide; the place and what to write stand in the server's output and in a metric."""
    failed_before = stack.metric("authz_reloads_total", result="failed")
    with traffic(stack.identities.caller("web"), stack.port, READ_ORDERS) as requests:
        replace(policy, policy.read_text().replace("effect: allow", "efect: allow"))
        wait_until(lambda: stack.metric("authz_policy_problems") > 0, 20, "the problem to be counted")
        requests.wait_for_more()
    assert requests.failures() == []
    assert set(requests.statuses()) == {200}
    assert stack.metric("authz_reloads_total", result="failed") > failed_before
    assert "orders.yaml:7:" in stack.log()
    assert "did you mean `effect`" in stack.log()
    assert stack.ready()


def test_mending_a_bad_edit_clears_the_metric(stack: Stack, policy: Path) -> None:
    """And what the mended file says decides."""
    good = policy.read_text()
    replace(policy, good + "      - id: x\n")
    wait_until(lambda: stack.metric("authz_policy_problems") > 0, 20, "the problem to be counted")
    replace(policy, good.replace("/orders", "/elsewhere"))
    web = stack.identities.caller("web")
    wait_until(lambda: http1(web, stack.port, Ask("GET", "/elsewhere")).status == 200, 20, "the mended policy")
    # What decides is reported when it is on disk as well.
    wait_until(lambda: stack.metric("authz_policy_problems") == 0, 20, "the mended policy to be reported")
