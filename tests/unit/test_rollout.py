"""The candidate decides for a share of the callers."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from msgspec import structs

from authz_server.errors import Reason
from authz_server.identity.settings import UpstreamTokens
from authz_server.identity.signing_keys import Rotation, parse_signing_keys, private_document, rotated
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.identity.upstream_token import UpstreamTokenSigner
from authz_server.model import Compared, User, Workload
from authz_server.policy.callers import Caller
from authz_server.policy.rollout import By, Rollout
from tests.unit.candidates import NOTHING, OPEN, SHUT, WEB, Scene, service
from tests.unit.identity.tokens import NOW


def workloads(number: int) -> list[str]:
    """So many callers."""
    return [f"spiffe://shop.example/ns/a/sa/{name}" for name in range(number)]


def test_the_candidate_decides_for_a_stable_share_of_the_callers(tmp_path: Path) -> None:
    """Whoever is in is in at every higher percentage, whatever the revision; nobody without the identity."""
    scene = Scene(tmp_path, service(NOTHING), service(OPEN % ""))
    other = Scene(tmp_path / "other", service(NOTHING), service(OPEN % "", SHUT % ", to: [{paths: [/x]}]"))
    before: set[str] = set()
    for percent in (1, 10, 50, 100):
        shares = []
        for each in (scene, other):
            rollout = structs.replace(each.candidate, rollout=Rollout(percent, "workload"))
            each.snapshot = structs.replace(each.snapshot, candidate=rollout)
            decisions = {caller: each.decide(workload=caller) for caller in workloads(1000)}
            shares.append({caller for caller, decision in decisions.items() if decision.policies == "candidate"})
            assert shares[-1] == {caller for caller, decision in decisions.items() if decision.allowed}
            assert each.decide().policies is None
        assert shares[0] == shares[1]
        assert before <= shares[0]
        assert abs(len(shares[0]) - percent * 10) <= 45
        before = shares[0]
    assert len(before) == 1000


@pytest.mark.parametrize(
    ("by", "inside"), [("workload", [20, 24, 34]), ("user", [20, 34]), ("client_ip", [1, 18, 22, 26])]
)
def test_the_share_is_the_same_in_every_process(by: By, inside: list[int]) -> None:
    """These callers are in the share of every server and every version: a change here would change who is."""
    callers = [
        Caller(
            Workload(parse_spiffe_id(f"spiffe://shop.example/ns/a/sa/{number}"), None),
            User("corp", f"u{number}"),
            ip_address(f"10.0.0.{number}"),
        )
        for number in range(40)
    ]
    rollout = Rollout(10, by)
    assert [number for number, caller in enumerate(callers) if rollout.includes(caller)] == inside
    assert not Rollout(100, by).includes(Caller(None, None, None))


def test_where_the_candidate_decides_everything_is_its_own(tmp_path: Path) -> None:
    """Revision, rule, answer, record class and the token for the upstream; what was in force is compared."""
    adds = "{id: new, effect: allow, from: anyone, record: best_effort, answer: {set_headers: {x-new: \"'1'\"}}}"
    scene = Scene(tmp_path, service(OPEN % ""), service(adds), rollout=Rollout(100, "workload"))
    settings = UpstreamTokens("x-token", "us", 60)
    keys = parse_signing_keys(private_document(rotated((), NOW, Rotation(3600.0, 60.0))))
    signer = UpstreamTokenSigner(settings, keys)
    scene.snapshot = structs.replace(scene.snapshot, upstream_tokens=signer, stale=True)
    decision = scene.decide(workload=WEB)
    assert (decision.revision, decision.rule, decision.policies) == (scene.revisions[1], "orders/new", "candidate")
    assert [change.name for change in decision.answer.set_headers] == ["x-new"]
    assert decision.record_class == "best_effort"
    assert decision.upstream_token is not None
    assert not decision.stale, "it is the policies in force that are"
    assert decision.compared == Compared(scene.revisions[0], True, Reason.ALLOWED, "orders/open", False)
    assert scene.told.outcomes == [("other", True)]
    outside = scene.decide()
    assert (outside.revision, outside.policies, outside.stale) == (scene.revisions[0], None, True)


def test_a_denial_of_the_candidate_that_could_not_be_compared_counts_against_it(tmp_path: Path) -> None:
    """Else a candidate whose conditions take all the time would never fall back."""
    scene = Scene(tmp_path, service(OPEN % ""), service(NOTHING), rollout=Rollout(100, "workload"))
    assert not scene.decide(workload=WEB, is_late=lambda: True).allowed
    assert scene.told.outcomes == [("closed", True)]
    allows = Scene(tmp_path / "2", service(OPEN % ""), service(OPEN % ""), rollout=Rollout(100, "workload"))
    assert allows.decide(workload=WEB, is_late=lambda: True).allowed
    assert allows.told.outcomes == [("skipped", True)]


def test_a_path_that_is_refused_in_force_is_refused_in_the_share_too(tmp_path: Path) -> None:
    """The candidate is compared: who calls is found out after the path, and must not be for its sake."""
    lenient = service(OPEN % "", more=", paths: lenient")
    scene = Scene(tmp_path, service(OPEN % ""), lenient, rollout=Rollout(100, "workload"))
    decision = scene.decide(path="/a%2fb", workload=WEB)
    assert (decision.reason, decision.policies) == (Reason.AMBIGUOUS_PATH, None)
    assert decision.compared is not None
    assert decision.compared.allowed
