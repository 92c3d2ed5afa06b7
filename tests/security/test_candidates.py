"""Attacks on policies that are only judged: what they say opens nothing."""

import os
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from authz_server.audit.record import encode_gap
from authz_server.control.candidate_flips import CandidateFlips
from authz_server.control.fall_back import FallBack, FallenBackFile
from authz_server.control.findings import Counted, FindingsFile
from authz_server.control.settings.candidate import FallBackSettings
from authz_server.errors import Reason
from authz_server.policy import judging
from authz_server.policy.candidate import NOBODY, Candidate, Watch
from authz_server.policy.conditions import ConditionRuntime, Program
from authz_server.policy.index import PolicyIndex
from authz_server.policy.rollout import Rollout
from authz_server.telemetry.candidate_counts import CandidateCounts, candidate_counts
from authz_server.telemetry.control_metrics import ControlMetrics
from authz_server.telemetry.worker_metrics import WorkerMetrics
from authz_server.worker.candidates import CandidateWatch
from tests.builders import plan_of
from tests.compared import ALLOWED, CANDIDATE, REFUSED, compared, in_force
from tests.security.server import Ask, Outcome, Server, assert_denied
from tests.unit.identity.certificates import WEB
from tests.unit.identity.proofs import proof_key
from tests.unit.identity.tokens import SigningKey

OPEN = """\
kind: service
name: orders
hosts: [orders.shop.example]
rules:
  - {id: everything, effect: allow, from: anyone, answer: {set_headers: {x-user: "'root'"}}}
"""

SHUT = """\
kind: service
name: orders
hosts: [orders.shop.example]
rules:
  - {id: nobody, effect: deny, from: anyone}
"""


def judged(server: Server, directory: Path, candidate: str, watch: Watch = NOBODY, **fields: Any) -> Server:
    """A server that asks a candidate about every request."""
    index = PolicyIndex(plan_of(directory, orders=candidate), ConditionRuntime(), ("x-user",))
    snapshot = server.service.snapshot
    assert snapshot is not None
    server.service.snapshot = structs.replace(snapshot, candidate=Candidate(index, watch, **fields))
    return server


def attacks(server: Server) -> list[Ask]:
    """What is denied, for many reasons."""
    return [
        Ask(path="/admin"),
        Ask(path="/list"),
        Ask(path="/nothing"),
        Ask(path="/public/%2e%2e/admin"),
        Ask(path="/public/a", headers=[("authorization", "Bearer nonsense")]),
        Ask(path="/public/a", headers=[("x_user", "root")]),
        server.as_web(certificate="garbage"),
    ]


@pytest.mark.parametrize("mode", ["", ", mode: audit", ", paths: lenient"])
def test_cand_01_a_candidate_that_allows_everything_opens_nothing(tmp_path: Path, mode: str) -> None:
    """Nor does what it says reach client or upstream, not even its headers."""
    alone = Server(tmp_path / "alone")
    server = judged(Server(tmp_path / "policies"), tmp_path / "candidate", OPEN + mode.removeprefix(", "))
    for ask in attacks(server):
        outcome = server.ask(ask)
        assert_denied(outcome, alone.ask(structs.replace(ask)).reason)
        assert "orders/everything" not in str(outcome.response)
    allowed = server.ask(Ask(path="/public/a"))
    assert allowed.allowed
    assert "x-user" not in allowed.request_headers()
    assert allowed.record["revision"] == server.plan.revision


@pytest.mark.parametrize("rollout", [None, Rollout(100, "client_ip")])
def test_cand_02_a_candidate_that_fails_takes_nothing_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rollout: Rollout | None
) -> None:
    """Whatever it raises, requests are decided by the policies in force, and none by a failure of ours."""
    server = judged(Server(tmp_path / "policies"), tmp_path / "candidate", OPEN, rollout=rollout)
    judge, snapshot = judging.judge, server.service.snapshot
    assert snapshot is not None
    in_force = snapshot.policies

    def broken(policies: PolicyIndex, asked: judging.Asked) -> judging.Judged:
        if policies is not in_force:
            raise RecursionError
        return judge(policies, asked)

    monkeypatch.setattr("authz_server.policy.candidate.judge", broken)
    assert server.ask(Ask(path="/public/a")).allowed
    assert_denied(server.ask(Ask(path="/admin")), Reason.DENIED_BY_RULE)


def test_cand_03_nobody_gets_into_the_share_by_saying_who_they_are(tmp_path: Path) -> None:
    """What counts is the identity that was verified, not a principal, a token or a header that nobody believes."""
    for by in ("workload", "user"):
        rollout = Rollout(100, by)
        server = judged(Server(tmp_path / f"p{by}"), tmp_path / f"c{by}", OPEN, rollout=rollout)
        forged = SigningKey(proof_key().private_key, "ES256", "k1").token(server.claims())
        claims = [
            Ask(path="/admin", principal=WEB),
            Ask(path="/admin", headers=[("authorization", f"Bearer {forged}")]),
            Ask(path="/admin", headers=[("x-forwarded-client-cert", f"URI={WEB}"), ("x-user", "ann")]),
        ]
        for ask in claims:
            outcome = server.ask(ask)
            assert not outcome.allowed
            assert outcome.record["policies"] is None
    inside = judged(Server(tmp_path / "in"), tmp_path / "c", OPEN, rollout=Rollout(100, "workload"))
    outcome = inside.ask(inside.as_web(path="/admin"))
    assert decided_by_candidate(outcome)
    assert outcome.request_headers()["x-user"] == "root"


def decided_by_candidate(outcome: Outcome) -> bool:
    """Whether the record says so, with the other policies' denial beside it."""
    compared = outcome.record["compared"]
    return outcome.allowed and outcome.record["policies"] == "candidate" and compared["decision"] == "deny"


def test_cand_04_what_is_refused_before_the_policies_is_refused_in_the_share(tmp_path: Path) -> None:
    """No candidate takes a path, a header or a credential that nothing in force would."""
    rollout = Rollout(100, "client_ip")
    server = judged(Server(tmp_path / "p"), tmp_path / "c", OPEN + "paths: lenient\n", rollout=rollout)
    assert_denied(server.ask(Ask(path="/public/%2e%2e/admin")), Reason.AMBIGUOUS_PATH)
    assert_denied(server.ask(Ask(path="/a", headers=[("authorization", "Bearer x.y.z")])), Reason.TOKEN_INVALID)
    assert_denied(server.ask(Ask(path="/a", headers=[("x_user", "root")])), Reason.HEADER_CONFLICT)
    assert_denied(server.ask(server.as_web(certificate="garbage")), Reason.WORKLOAD_REFUSED)


@pytest.mark.parametrize("change", ["mode", "content", "link"])
def test_cand_05_a_roll_out_that_fell_back_is_not_begun_by_a_forged_file(tmp_path: Path, change: str) -> None:
    """What others could have written, or nobody can read, is taken for a roll-out that fell back."""
    file = tmp_path / "candidate.fallen-back"
    file.write_bytes(b"authz-server fallen back roll-out, format 1\n{}")
    file.chmod(0o666 if change == "mode" else 0o600)
    if change == "link":
        file.rename(tmp_path / "elsewhere")
        os.symlink(tmp_path / "elsewhere", file)
    fall_back = FallBack(FallenBackFile(file), lambda: CandidateCounts({}, 0.0))
    assert fall_back.stops("any")
    assert fall_back.problems()


def test_cand_06_a_flood_hides_no_flip_behind_one_that_is_accepted(tmp_path: Path) -> None:
    """Where records were lost, each check that flips needs one, or the promotion is refused."""
    plan = in_force(tmp_path / "policies")
    counted = Counted({}, 0.0)
    flips = CandidateFlips(FindingsFile(tmp_path / "found"), lambda: counted)
    flips.judge(plan, structs.replace(plan, revision=CANDIDATE))
    counted = Counted({"opened": 2}, 0.0)
    opened: dict[str, Any] = {**REFUSED, "said": ALLOWED}
    flips.observe([compared(plan.revision, **opened), encode_gap(1.0, worker=0, dropped=7)])
    flips.save()
    found = FindingsFile(tmp_path / "found").read()
    [flip] = found.flips
    assert (flip.kind.change, found.lost, found.untold) == ("opened", 7, {"opened": 1})


def test_cand_07_what_is_denied_anyhow_hides_no_denial_of_a_candidate(tmp_path: Path) -> None:
    """Anybody in the share can cause as much of it as they like."""
    numbers = tmp_path / "metrics"
    ControlMetrics(numbers)
    watch = CandidateWatch("c", WorkerMetrics(numbers, 0).candidate)
    rollout = Rollout(100, "client_ip")
    server = judged(Server(tmp_path / "p"), tmp_path / "c", SHUT, rollout=rollout, watch=watch)
    fall_back = FallBack(FallenBackFile(tmp_path / "fallen"), lambda: candidate_counts(numbers))
    fall_back.watch("c", FallBackSettings.model_validate({"denials": 1, "decisions": 1}))
    for _ in range(300):
        assert_denied(server.ask(Ask(path="/admin")), Reason.DENIED_BY_RULE)
    assert not fall_back.look()
    assert_denied(server.ask(Ask(path="/public/a")), Reason.DENIED_BY_RULE)
    assert fall_back.look()


def test_cand_08_what_a_candidate_costs_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many expensive conditions it has, most are not begun."""
    spent, begun = [0.0], [0]
    computed = Program._computed

    def expensive(program: Program, *args: Any) -> Any:
        spent[0] += 0.004
        value = computed(program, *args)
        begun[0] += 1
        return value

    monkeypatch.setattr(Program, "_computed", expensive)
    monkeypatch.setattr("time.thread_time", lambda: spent[0])
    condition = """'"q" in request.query && request.query["q"].filter(x, x.matches("a%d")).size() > 0'"""
    rules = "".join(f"  - {{id: h{n}, effect: deny, when: {condition % n}}}\n" for n in range(50))
    server = judged(Server(tmp_path / "policies"), tmp_path / "candidate", OPEN + rules)
    assert server.ask(Ask(path="/public/a?q=b")).allowed
    assert begun == [2]
