"""`authz explain`: where it finds the record and the policies, and what it says where they do not suffice."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from authz_server.audit.record import encode
from authz_server.audit.redaction import Redaction
from authz_server.cli import app
from tests.builders import write_policies
from tests.unit.cli.test_explain_causes import Scene, anyone, user

UNKNOWN = "019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d"


def run(*arguments: str) -> Result:
    """Run `authz explain` in this directory, with its defaults."""
    return CliRunner().invoke(app, ["explain", *arguments])


@pytest.fixture(name="scene")
def _scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.chdir(tmp_path)
    return Scene(tmp_path)


def test_a_denial_is_explained(scene: Scene) -> None:
    """The decision, the phases, the nearest rules, what would make it allow, and what rules read."""
    id = scene.recorded(scene.decide(user("/scope", scope="read")))
    said = run(id).stdout
    assert said.startswith("DENY  403\n  reason    no_rule_allows\n  time      2026-03-02T09:00:00.000000Z\n")
    assert "  (kept)\n\n  phases\n    request     GET orders.shop.example /scope\n    workload    none\n" in said
    assert "    user        zoe of corp\n    service     orders\n    rules     ! none allows\n" in said
    assert "    orders/scope: have the issuer grant the scope, or the rule does not ask for it (`scopes`)\n" in said
    assert '    user.scopes  ["read"]\n' in said
    assert "what cannot be told" not in said


def test_machines_get_the_same(scene: Scene) -> None:
    """The record, and the account."""
    told = json.loads(run(scene.recorded(scene.decide(user("/scope", scope="read"))), "--json").stdout)
    assert told["record"]["reason"] == "no_rule_allows"
    assert told["policies"] == "kept"
    assert told["account"]["nearest"][0]["rule"] == "orders/scope"
    assert told["account"]["nearest"][0]["lacks"] == [
        {"demand": "scopes", "found": "user: the scopes lack `write` (has `read`)", "known": True}
    ]
    assert {"rule": "orders/scope", "effect": "allow", "outcome": "user: the scopes lack `write` (has `read`)"} in told[
        "account"
    ]["rules"]
    assert told["not_told"] == []


def test_what_was_allowed_is_explained_as_well(scene: Scene) -> None:
    """By the rule that allowed; there is nothing to change."""
    said = run(scene.recorded(scene.decide(anyone("/good")))).stdout
    assert said.startswith("ALLOW\n  reason    allowed\n  rule      orders/rest\n")
    assert "    rules       orders/rest allows\n" in said
    assert "nearest" not in said
    assert "what would make it allow" not in said


def test_the_record_is_found_in_files_that_were_put_aside(scene: Scene) -> None:
    """Beside the audit file, compressed or not, or where it is said to be."""
    id = scene.recorded(scene.decide(anyone("/shut")))
    aside = scene.audit.with_name("decisions-20260302T090000Z-1.jsonl.gz")
    aside.write_bytes(gzip.compress(scene.audit.read_bytes()))
    scene.audit.write_bytes(b"")
    assert "orders/shut denies" in run(id.upper()).stdout
    elsewhere = aside.rename("other.gz")
    assert run(id).exit_code == 1
    assert "orders/shut denies" in run(id, "--audit", str(elsewhere)).stdout


def test_what_is_not_found_or_no_id_is_told(scene: Scene) -> None:
    """And where it was looked for."""
    scene.recorded(scene.decide(anyone("/shut")))
    result = run(UNKNOWN)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"authz: no decision {UNKNOWN} in {scene.audit}"
    assert run("/shut").exit_code == 2
    assert run(UNKNOWN, "--audit", "gone.jsonl").exit_code == 2


def test_an_id_that_stands_elsewhere_in_a_record_finds_nothing(scene: Scene) -> None:
    """Clients choose paths."""
    scene.recorded(scene.decide(anyone(f"/{UNKNOWN}")))
    assert run(UNKNOWN).exit_code == 1


def test_the_policies_of_that_time_decide_and_not_those_of_now(scene: Scene) -> None:
    """Without them only the phases are told; policies that are given are taken, and called what they are."""
    id = scene.recorded(scene.decide(user("/scope", scope="read")))
    now = "kind: service\nname: orders\nhosts: [orders.shop.example]\nrules: [{id: a, effect: allow, from: anyone}]\n"
    shutil.rmtree("policies")
    write_policies(Path("policies"), {"orders.yaml": now})
    assert "the scopes lack `write`" in run(id).stdout
    shutil.rmtree("run")
    result = run(id)
    assert result.exit_code == 1
    assert "    rules     ! none allows\n" in result.stdout
    assert "nearest" not in result.stdout
    assert "is not kept" in result.stdout
    other = run(id, "--policies", "policies").stdout
    assert "(policies, which is another revision: " in other
    assert "decided again it comes out otherwise (allow, allowed)" in other


def test_the_directory_does_where_it_still_is_the_revision(scene: Scene) -> None:
    """With nothing kept."""
    id = scene.recorded(scene.decide(anyone("/shut")))
    shutil.rmtree("run")
    result = run(id)
    assert result.exit_code == 0, result.stdout
    assert "  (policies)\n" in result.stdout


def rewritten(scene: Scene, id: str, **changes: Any) -> None:
    """Change a record; None takes a name away."""
    lines = [json.loads(line) for line in scene.audit.read_bytes().splitlines()]
    for record in lines:
        if record["decision_id"] == id:
            record.update(changes)
            for name in [name for name, value in changes.items() if value is None]:
                del record[name]
    scene.audit.write_text("".join(json.dumps(record) + "\n" for record in lines))


def test_what_is_secret_is_not_guessed(scene: Scene) -> None:
    """A value that is recorded as a hash cannot be told, nor what depends on it."""
    decision = scene.decide(anyone("/header", headers={"x-team": "b"}))
    line = encode(decision, worker=0, latency_us=1, redaction=Redaction(["request.headers[x-team]"], b"k"))
    scene.audit.write_bytes(line + b"\n")
    said = run(decision.id).stdout
    assert "      cannot be told: the record does not hold `request.headers[x-team]`\n" in said
    assert "    `request.headers[x-team]` is not on record, and rules read it\n" in said
    assert "the condition is false" not in said


def test_a_record_of_an_earlier_version_is_explained_as_far_as_it_goes(scene: Scene) -> None:
    """It does not say what was unusual about the request, so no rule is asked."""
    id = scene.recorded(scene.decide(anyone("/shut")))
    rewritten(scene, id, traits=None, absent=None, inputs=None)
    result = run(id)
    assert result.exit_code == 0, result.stdout
    assert "orders/shut denies" in result.stdout
    assert "the record is of an earlier version" in result.stdout
    rewritten(scene, id, reason="of_the_future")
    assert run(id).exit_code == 1
    assert "another version has written this record" in run(id).stderr


def test_what_a_client_sends_cannot_act_on_the_terminal(scene: Scene) -> None:
    """Neither in the path nor in a value that rules read."""
    hostile = "\x1b[2J\u202e"
    forged = run(scene.recorded(scene.decide(anyone("/a\nALLOW")))).stdout
    assert "ALLOW" not in forged.splitlines()
    for asked in (anyone(f"/{hostile}"), anyone("/header", headers={"x-team": hostile})):
        said = run(scene.recorded(scene.decide(asked))).stdout
        assert "[2J" in said
        assert not {"\x1b", "\u202e"} & set(said)


def test_a_decision_that_comes_out_otherwise_is_told(scene: Scene) -> None:
    """Such as one whose record somebody has changed."""
    id = scene.recorded(scene.decide(anyone("/shut")))
    rewritten(scene, id, path="/good")
    assert "decided again it comes out otherwise (allow, allowed)" in run(id).stdout


def test_what_audit_lets_pass_is_told_as_such(scene: Scene) -> None:
    """It was allowed, and would be denied."""
    id = scene.recorded(scene.decide(anyone("/shut")))
    rewritten(scene, id, decision="allow", would_deny=True, mode="audit")
    assert run(id).stdout.startswith("ALLOW  would be DENY  403: in audit\n")
