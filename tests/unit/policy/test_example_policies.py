"""The policies that come with the product decide what their own tests say."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from authz_server.documents.load import load_file
from authz_server.errors import Reason, Refused
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.model import User, Workload
from authz_server.policy.callers import Caller
from authz_server.policy.compiler import KnownNames
from authz_server.policy.conditions import Evaluation
from authz_server.policy.decide import Verdict, decide
from authz_server.policy.index import PolicyIndex
from authz_server.policy.loader import load_policies
from authz_server.policy.testcases import ANONYMOUS, Case, CaseUser, PolicyTests
from authz_server.request.operation import canonical_operation
from tests.builders import request, snapshot_of

POLICIES = Path(__file__).parents[3] / "policies"
DEMO = KnownNames(issuers=frozenset({"corp"}), trust_domains=frozenset({"shop.example"}))


class Question(NamedTuple):
    """One expectation of a tests document."""

    name: str
    workload: str | None
    user: CaseUser | None
    method: str
    host: str
    path: str
    now: float
    allowed: bool
    rule: str | None = None
    reason: str | None = None


def _user(user: CaseUser) -> User:
    return User(
        issuer=user.issuer,
        subject=user.subject,
        scopes=frozenset(user.scopes),
        roles=frozenset(user.roles),
        groups=frozenset(user.groups),
        claims=user.claims,
    )


def _from_case(tests: PolicyTests, case: Case, now: float) -> Question:
    asked, expect = case.request, case.expect
    return Question(
        case.name,
        tests.workloads[asked.workload] if asked.workload else None,
        tests.users[asked.user] if asked.user else None,
        asked.method,
        asked.host,
        asked.path,
        now,
        expect.decision == "allow",
        expect.rule,
        expect.reason,
    )


def _from_matrix(tests: PolicyTests, now: float) -> Iterator[Question]:
    matrix = tests.matrix
    if matrix is None:
        return
    for caller in matrix.callers:
        names = caller.split("+")
        workload = next((tests.workloads[name] for name in names if name in tests.workloads), None)
        user = next((tests.users[name] for name in names if name in tests.users), None)
        assert caller == ANONYMOUS or workload or user
        for name, line in matrix.requests.items():
            method, path = line.split(" ")
            allowed = name in matrix.allow.get(caller, [])
            yield Question(f"{caller}: {name}", workload, user, method, matrix.host or "", path, now, allowed)


def _questions() -> Iterator[Question]:
    for path in sorted(POLICIES.rglob("*_test.yaml")):
        tests = load_file(path, PolicyTests).value
        assert tests is not None
        now = datetime.fromisoformat(tests.now).timestamp() if tests.now else 0.0
        yield from (_from_case(tests, case, now) for case in tests.tests)
        yield from _from_matrix(tests, now)


@pytest.fixture(scope="module")
def index() -> PolicyIndex:
    """The policies, ready to be asked."""
    loaded = load_policies(POLICIES, DEMO)
    assert loaded.plan is not None, "\n".join(map(str, loaded.problems))
    return snapshot_of(loaded.plan).policies


def test_the_examples_are_three_services(index: PolicyIndex) -> None:
    """The ones that the demo runs, each under its folder's name."""
    for name in ("inventory", "orders", "web"):
        operation = canonical_operation(request(host=f"{name}.shop.example"))
        service = index.service(operation, None)
        assert service is not None
        assert service.name == f"shop/{name}"


@pytest.mark.parametrize("question", list(_questions()), ids=lambda question: question.name)
def test_each_request_of_the_tests_beside_the_policies_is_decided_as_they_say(
    question: Question, index: PolicyIndex
) -> None:
    """Single requests with rule and reason, and every combination of a matrix."""
    workload = Workload(parse_spiffe_id(question.workload), None) if question.workload else None
    user = _user(question.user) if question.user else None
    try:
        operation = canonical_operation(request(question.method, question.path, host=question.host))
        service = index.service(operation, None)
        assert service is not None
        caller = Caller(workload, user, operation.client_ip)
        evaluation = Evaluation(operation, workload, user, question.now)
        verdict = decide(service, operation, caller, evaluation, credential_came=user is not None)
    except Refused as refusal:
        verdict = Verdict(refusal.reason)
    assert (verdict.reason is Reason.ALLOWED) is question.allowed, verdict
    assert question.reason in (None, verdict.reason)
    assert question.rule is None or (verdict.rule or "").endswith(question.rule)
