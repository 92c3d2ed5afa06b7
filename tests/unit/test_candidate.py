"""A candidate beside the policies in force: what it says is known, and what is decided is as without it."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from authz_server.envoy.response import ResponseWriter
from authz_server.errors import Reason
from authz_server.model import Compared, Comparison, Decision
from authz_server.pipeline import check
from authz_server.policy import candidate as module
from authz_server.policy.rollout import Rollout
from tests.builders import plan_of, request
from tests.unit.candidates import NOTHING, OPEN, SHUT, WEB, Scene, same, service
from tests.unit.identity.proofs import bound_to, proof_key
from tests.unit.identity.tokens import NOW, SigningKey
from tests.unit.test_dpop import CLIENT, World

OUTCOMES: list[tuple[str, str, Comparison, Reason, str | None]] = [
    (service(OPEN % ""), service(OPEN % ""), "same", Reason.ALLOWED, "orders/open"),
    (service(OPEN % ""), service(NOTHING), "closed", Reason.NO_RULE_ALLOWS, None),
    (service(OPEN % ""), service(OPEN % "", SHUT % ""), "closed", Reason.DENIED_BY_RULE, "orders/shut"),
    (service(NOTHING), service(OPEN % ""), "opened", Reason.ALLOWED, "orders/open"),
    (service(OPEN % ""), service("{id: other, effect: allow, from: anyone}"), "other", Reason.ALLOWED, "orders/other"),
    (service(NOTHING), service(SHUT % "", NOTHING), "other", Reason.DENIED_BY_RULE, "orders/shut"),
    (
        service(OPEN % ""),
        service(OPEN % "", "{id: soon, effect: deny, mode: audit}"),
        "other",
        Reason.DENIED_BY_RULE,
        "orders/soon",
    ),
    (service(OPEN % ""), service(NOTHING, more=", mode: audit"), "other", Reason.NO_RULE_ALLOWS, None),
]


@pytest.mark.parametrize(("enforced", "candidate", "outcome", "reason", "rule"), OUTCOMES)
def test_what_a_candidate_says_is_compared_and_changes_nothing(
    tmp_path: Path, enforced: str, candidate: str, outcome: Comparison, reason: Reason, rule: str | None
) -> None:
    """Decision, reason, rule and audit: where one of them differs, the decision says what the candidate says."""
    scene = Scene(tmp_path, enforced, candidate)
    decision = scene.decide()
    assert same(decision, scene.alone())
    assert decision.revision == scene.revisions[0]
    assert decision.policies is None
    assert scene.told.outcomes == [(outcome, False)]
    if outcome == "same":
        assert decision.compared is None
    else:
        allowed = outcome == "opened" or (outcome == "other" and decision.allowed)
        would_deny = allowed and reason is not Reason.ALLOWED
        assert decision.compared == Compared(scene.revisions[1], allowed, reason, rule, would_deny)


def test_a_defect_that_a_candidate_meets_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised is counted, and the decision is as without it; also where the candidate was to decide."""
    for rollout in (None, Rollout(100, "workload")):
        scene = Scene(tmp_path, service(OPEN % ""), service(NOTHING), rollout=rollout)
        for error in (RuntimeError(), RecursionError(), MemoryError()):

            def broken(*_: object, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(scene.indexes[1], "service", broken)
            decision = scene.decide(workload=WEB)
            assert same(decision, scene.alone(workload=WEB))
            assert decision.allowed
            assert decision.compared is None
            assert scene.told.errors[-1] is error
        assert scene.told.outcomes == []


def test_a_watch_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a counter of ours that cannot count."""
    scene = Scene(tmp_path, service(OPEN % ""), service(NOTHING))

    def broken(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(scene.told, "compared", broken)
    assert scene.decide().allowed
    assert len(scene.told.errors) == 1


@pytest.mark.parametrize("condition", ['request.query["a"][0] == "b"', 'request.path.matches("(a|aa)+$")'])
def test_a_condition_of_a_candidate_that_fails_or_is_slow_changes_nothing(tmp_path: Path, condition: str) -> None:
    """What cannot be evaluated is the candidate's denial; what there is no time for is not said at all."""
    candidate = service(f"{{id: blocks, effect: deny, when: '{condition}'}}", OPEN % "")
    scene = Scene(tmp_path, service(OPEN % ""), candidate)
    assert same(scene.decide(path="/a?a=%ff"), scene.alone(path="/a?a=%ff"))
    late = iter([False, True])
    # It is late only once the candidate's condition is to be evaluated by the engine.
    slow = Scene(tmp_path, service(OPEN % ""), candidate)
    decision = slow.decide(path="/a?x=1", is_late=lambda: next(late))
    assert decision.allowed
    assert decision.compared is None
    assert slow.told.outcomes == [("skipped", False)]


def test_a_candidate_is_not_asked_where_there_is_no_time_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the check is late, or other calls have to wait."""
    pressed = [False]
    scene = Scene(tmp_path, service(OPEN % ""), service(NOTHING), is_pressed=lambda: pressed[0])

    def asked(*_: object) -> None:
        pytest.fail("it was asked")

    monkeypatch.setattr(scene.indexes[1], "service", asked)
    assert scene.decide(is_late=lambda: True).compared is None
    pressed[0] = True
    assert scene.decide().compared is None
    assert scene.told.outcomes == [("skipped", False)] * 2


@pytest.mark.parametrize(("percent", "outcome"), [(0, "skipped"), (100, "other")])
def test_a_candidate_that_takes_too_long_begins_no_further_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, percent: int, outcome: Comparison
) -> None:
    """Others wait for it, though no check is late; in the share it is the policies in force that have all the time."""
    monkeypatch.setattr(module, "LONGEST_S", -1.0)
    conditions = ["request.path.matches('^/b$')", "request.path.matches('^/$')"]
    rules = [f'{{id: r{number}, effect: allow, from: anyone, when: "{one}"}}' for number, one in enumerate(conditions)]
    texts = (service(OPEN % ""), service(*rules)) if percent == 0 else (service(*rules), service(OPEN % ""))
    scene = Scene(tmp_path, *texts, rollout=Rollout(percent, "workload") if percent else None)
    decision = scene.decide(workload=WEB)
    assert (decision.reason, decision.rule) == (Reason.ALLOWED, "orders/open")
    assert scene.told.outcomes == [(outcome, percent == 100)]


def test_a_sample_of_the_checks_is_judged(tmp_path: Path) -> None:
    """About the percentage that is asked for, chosen at random; those that are not chosen are not counted."""
    scene = Scene(tmp_path, service(OPEN % ""), service(NOTHING), sample=20)
    decisions = [scene.decide() for _ in range(2000)]
    judged = [decision for decision in decisions if decision.compared is not None]
    assert 250 < len(judged) < 560
    assert len(scene.told.outcomes) == len(judged)


def test_what_both_have_read_is_recorded_where_they_differ(tmp_path: Path) -> None:
    """So that both can be explained; where they say the same, only what decided is recorded."""
    enforced = service('{id: open, effect: allow, from: anyone, when: \'request.headers["x-a"] != ""\'}')
    candidate = service('{id: open, effect: allow, from: anyone, when: \'request.headers["x-b"] == "b"\'}')
    scene = Scene(tmp_path, enforced, candidate)
    agreed = scene.decide(headers={"x-a": "a", "x-b": "b"})
    assert agreed.compared is None
    assert agreed.inputs == {"request.headers[x-a]": "a"}
    differs = scene.decide(headers={"x-a": "a"})
    assert differs.compared is not None
    assert (differs.inputs, differs.absent) == ({"request.headers[x-a]": "a"}, ("request.headers[x-b]",))


def test_a_body_that_only_the_candidate_reads_is_recorded_only_where_they_differ(tmp_path: Path) -> None:
    """The rules in force name it as well, and did not need it: their record is as without a candidate."""
    reads = "{id: small, effect: allow, from: anyone, to: [{paths: [%s]}], when: 'body.amount < 10'}"
    text = "{id: a, effect: allow, from: anyone, to: [{paths: [/a]}]}"
    enforced = service(text, reads % "/b", more=", body: json")
    scene = Scene(tmp_path, enforced, service(reads % "/a", NOTHING, more=", body: json"))

    def decide(scene: Scene, body: bytes) -> Decision:
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        asked = structs.replace(request("POST", "/a", headers=headers), body=body, body_size=len(body))
        return check(asked, scene.snapshot, NOW)

    assert decide(scene, b'{"amount": 11}').inputs == {"body.amount": 11}
    agreeing = Scene(tmp_path / "2", enforced, service(reads.replace("small", "a") % "/a", more=", body: json"))
    agreed = decide(agreeing, b'{"amount": 9}')
    assert agreed.allowed
    assert agreed.compared is None
    assert agreed.inputs == {}


def test_a_path_with_several_readings_is_each_policies_own_affair(tmp_path: Path) -> None:
    """Lenient in force and strict in the candidate, or the other way round."""
    lenient = service("{id: open, effect: allow, from: anyone, to: [{paths: ['/**']}]}", more=", paths: lenient")
    strict = service("{id: open, effect: allow, from: anyone, to: [{paths: ['/**']}]}")
    path = "/a%2fb"
    opened = Scene(tmp_path / "1", strict, lenient)
    decision = opened.decide(path=path, workload=WEB)
    assert decision.reason is Reason.AMBIGUOUS_PATH
    assert decision.compared == Compared(opened.revisions[1], True, Reason.ALLOWED, "orders/open", False)
    assert decision.workload is not None, "so that it can be told whom it would be opened for"
    assert _answer(decision) == _answer(opened.alone(path=path, workload=WEB)), "to the proxy nothing has changed"
    assert opened.told.outcomes == [("opened", False)]
    late = opened.decide(path=path, workload=WEB, is_late=lambda: True)
    assert same(late, opened.alone(path=path, workload=WEB)), "what was not compared is told as ever"
    closed = Scene(tmp_path / "2", lenient, strict)
    decision = closed.decide(path=path)
    assert decision.allowed
    assert decision.compared == Compared(closed.revisions[1], False, Reason.AMBIGUOUS_PATH, None, False)
    both = Scene(tmp_path / "3", lenient, lenient)
    assert both.decide(path=path).compared is None
    assert both.told.outcomes == [("same", False)]
    refused = Scene(tmp_path / "4", strict, strict)
    assert same(refused.decide(path=path), refused.alone(path=path))
    assert refused.told.outcomes == []


def _answer(decision: Decision) -> bytes:
    return ResponseWriter().write(structs.replace(decision, id="0" * 36))


def test_refusals_before_the_policies_are_the_same_under_both(tmp_path: Path) -> None:
    """Nobody is asked about what is malformed, nor about a workload that is refused."""
    scene = Scene(tmp_path, service(OPEN % ""), service(NOTHING))
    refused: list[dict[str, Any]] = [{"method": "get"}, {"path": "/a#b"}, {"workload": "spiffe://other.example/x"}]
    for fields in refused:
        decision = scene.decide(**fields)
        assert same(decision, scene.alone(**fields))
        assert decision.compared is None
    assert scene.told.outcomes == []


def test_a_bad_credential_is_refused_by_both_unless_one_is_in_audit(tmp_path: Path) -> None:
    """A service in audit lets it go on, unless a guardrail asks who the user is."""
    bad: dict[str, Any] = {"headers": {"authorization": "Bearer nonsense"}}
    strict, audit = service(OPEN % ""), service(OPEN % "", more=", mode: audit")
    alike = Scene(tmp_path / "1", strict, strict)
    assert alike.decide(**bad).reason is Reason.TOKEN_INVALID
    assert alike.told.outcomes == [("same", False)]
    opened = Scene(tmp_path / "2", strict, audit)
    decision = opened.decide(**bad)
    assert not decision.allowed
    assert decision.service is None
    assert decision.compared == Compared(opened.revisions[1], True, Reason.TOKEN_INVALID, None, True)
    closed = Scene(tmp_path / "3", audit, strict)
    decision = closed.decide(**bad)
    assert decision.allowed
    assert decision.compared == Compared(closed.revisions[1], False, Reason.TOKEN_INVALID, None, False)


def test_headers_that_a_candidate_protects_are_refused_by_it_alone(tmp_path: Path) -> None:
    """A variant of a header that only its rules set."""
    sets = "{id: open, effect: allow, from: anyone, answer: {set_headers: {x-user: \"'ann'\"}}}"
    scene = Scene(tmp_path, service(OPEN % ""), service(sets))
    decision = scene.decide(headers={"x_user": "root"})
    assert decision.allowed
    assert decision.answer == scene.alone().answer
    assert decision.compared == Compared(scene.revisions[1], False, Reason.HEADER_CONFLICT, None, False)


def test_a_route_may_demand_what_only_one_of_them_is(tmp_path: Path) -> None:
    """The candidate says what it would say; whoever decides must be as new as demanded."""

    def numbered(number: int) -> Scene:
        scene = Scene(tmp_path / str(number), service(OPEN % ""), service(OPEN % ""))
        for index, own in zip(scene.indexes, (3, number), strict=True):
            index.number = own
        return scene

    demand: dict[str, Any] = {"extensions": {"min_revision": "3"}}
    older = numbered(2)
    decision = older.decide(**demand)
    assert decision.allowed
    assert decision.compared == Compared(older.revisions[1], False, Reason.NOT_READY, None, False)
    everybody = Rollout(100, "workload")
    for number, reason in ((2, Reason.NOT_READY), (3, Reason.ALLOWED)):
        scene = numbered(number)
        scene.snapshot = structs.replace(scene.snapshot, candidate=structs.replace(scene.candidate, rollout=everybody))
        assert scene.decide(workload=WEB, **demand).reason is reason
    scene.snapshot.policies.number = 2
    assert scene.decide(workload=WEB, **demand).reason is Reason.ALLOWED
    assert scene.decide(**demand).reason is Reason.NOT_READY
    assert numbered(3).decide(extensions={"min_revision": "4"}).compared is None


def test_no_proof_is_used_and_no_issuer_asked_for_the_sake_of_a_candidate(tmp_path: Path) -> None:
    """What is refused under the policies in force uses up nothing; what is decided, uses its proof once."""
    lenient = service("{id: users, effect: allow, from: [{users: any}]}", more=", paths: lenient")
    issuer_key = SigningKey(proof_key().private_key, "ES256", "k1")
    world = World(plan_of(tmp_path / "world", orders=lenient), issuer_key)
    candidate = Scene(tmp_path, lenient, service(NOTHING)).candidate
    strict = Scene(tmp_path / "strict", service(OPEN % ""), lenient)
    world.snapshot = structs.replace(world.snapshot, policies=strict.indexes[0], candidate=strict.candidate)
    good = issuer_key.token(cnf=bound_to(CLIENT))
    path = "/a%2fb"
    for decision in (world.decide(good, path=path), world.decide("opaque", scheme="Bearer", path=path)):
        assert decision.reason is Reason.AMBIGUOUS_PATH
        assert decision.compared is None
    assert world.memory.used == set()
    world.snapshot = structs.replace(world.snapshot, candidate=candidate)
    decision = world.decide(good)
    assert decision.allowed
    assert decision.compared is not None
    assert decision.compared.reason is Reason.NO_RULE_ALLOWS
    assert len(world.memory.used) == 1
