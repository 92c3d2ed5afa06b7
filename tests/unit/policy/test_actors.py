"""Rules about who acts on behalf of a user."""

from pathlib import Path

import pytest

from authz_server.errors import Reason
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.model import Actor, User, Workload
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import ConditionRuntime, Evaluation
from authz_server.policy.decide import decide
from authz_server.policy.explain import Explanation
from authz_server.policy.index import PolicyIndex
from authz_server.policy.loader import load_policies
from authz_server.request.operation import canonical_operation
from tests.builders import plan_of, request, write_policies

GATEWAY, OTHER = "spiffe://shop.example/ns/front/sa/gateway", "spiffe://shop.example/ns/front/x/sa/gateway"
ORDERS = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: acting
        effect: allow
        from: [{users: {issuer: corp, actors: ["spiffe://shop.example/ns/*/sa/gateway", batch]}}]
        to: [{paths: [/acting]}]
      - id: themselves
        effect: allow
        from: [{users: any}]
        to: [{paths: [/themselves]}]
        when: user.actor == ""
      - id: the-workload
        effect: allow
        from: [{users: any, workloads: ["spiffe://shop.example/**"]}]
        to: [{paths: [/the-workload]}]
        when: user.actor == workload.id
      - {id: users, effect: allow, from: [{users: any}], to: [{paths: ["/any/**"]}]}
      - id: not-batch
        effect: deny
        from: [{users: {issuer: corp, actors: [batch]}}]
        to: [{paths: [/any/secret]}]
"""


def actor(subject: str | None) -> Actor | None:
    """The actor of this subject."""
    if subject is None:
        return None
    return Actor(subject, parse_spiffe_id(subject) if subject.startswith("spiffe://") else None)


def decided(directory: Path, path: str, acting: str | None, issuer: str = "corp") -> tuple[Reason, str]:
    """Why a request is allowed or denied, and what came of the rule of the same name."""
    plan = plan_of(directory, orders=ORDERS)
    operation = canonical_operation(request(path=path))
    user = User(issuer, "ann", actor=actor(acting))
    workload = Workload(parse_spiffe_id(GATEWAY), None)
    caller, evaluation = Caller(workload, user, None), Evaluation(operation, workload, user, 0.0)
    service = PolicyIndex(plan, ConditionRuntime(), ()).service(operation, None)
    assert service is not None
    reason = decide(service, operation, caller, evaluation, credential_came=True).reason
    explanation = Explanation(plan.services[0], ConditionRuntime(), (), operation, caller, evaluation)
    outcomes = {outcome.rule.partition("/")[2]: outcome.outcome for outcome in explanation.outcomes()}
    return reason, outcomes.get(path[1:], "")


WANTED = "`spiffe://shop.example/ns/*/sa/gateway`, `batch`"


@pytest.mark.parametrize(
    ("path", "acting", "outcome"),
    [
        ("/acting", GATEWAY, "fits"),
        ("/acting", "batch", "fits"),
        ("/acting", None, f"user: nobody acts on their behalf, wanted is one of {WANTED}"),
        ("/acting", OTHER, f"user: who acts on their behalf is none of {WANTED}"),
        ("/acting", "Batch", f"user: who acts on their behalf is none of {WANTED}"),
        ("/acting", "ns/*/sa/gateway", f"user: who acts on their behalf is none of {WANTED}"),
        ("/themselves", None, "fits"),
        ("/themselves", "batch", "the condition is false"),
        ("/the-workload", GATEWAY, "fits"),
        ("/the-workload", OTHER, "the condition is false"),
        ("/the-workload", None, "the condition is false"),
    ],
)
def test_a_rule_asks_for_actors(tmp_path: Path, path: str, acting: str | None, outcome: str) -> None:
    """By pattern or by subject; the explanation says what is missing and not who acts."""
    reason, explained = decided(tmp_path, path, acting)
    assert explained == outcome
    assert reason is (Reason.ALLOWED if outcome == "fits" else Reason.NO_RULE_ALLOWS)


def test_an_actor_is_of_the_users_issuer(tmp_path: Path) -> None:
    """The same subject is somebody else at another one."""
    assert decided(tmp_path, "/acting", "batch", issuer="partner")[0] is Reason.NO_RULE_ALLOWS


@pytest.mark.parametrize(
    ("acting", "reason"),
    [(None, Reason.ALLOWED), (GATEWAY, Reason.ALLOWED), ("batch", Reason.DENIED_BY_RULE)],
)
def test_a_deny_rule_asks_for_actors(tmp_path: Path, acting: str | None, reason: Reason) -> None:
    """Nobody else is touched by it; a rule that does not ask fits whoever acts."""
    assert decided(tmp_path, "/any/secret", acting)[0] is reason
    assert decided(tmp_path, "/any/thing", acting)[0] is Reason.ALLOWED


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ('["spiffe://shop.example"]', "the pattern has no path", "`spiffe://shop.example/**`"),
        ('["spiffe://shop.example/a*"]', "`*` stands for a whole segment", "alone between the slashes"),
        ('["SPIFFE://shop.example/a"]', "begins with `spiffe://`", "`spiffe://<trust domain>/<path>`"),
        ('[""]', "this is empty", "remove it"),
        ("[]", "`actors` must not be empty", "for example"),
        ("batch", "`actors` must be a list, not `batch`", "for example"),
    ],
)
def test_an_actor_that_can_never_fit_is_an_error(tmp_path: Path, written: str, message: str, hint: str) -> None:
    """With its place, and what to write."""
    text = ORDERS.replace("[batch]", written, 1)
    assert text != ORDERS
    [problem] = load_policies(write_policies(tmp_path, {"orders.yaml": text})).problems
    assert message in problem.message
    assert hint in problem.hint
    assert problem.position.line == text[: text.index(f"actors: {written}")].count("\n") + 1
