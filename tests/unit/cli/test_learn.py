"""`authz learn`."""

import gzip
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from authz_server.cli.learned import WHYS
from authz_server.replay.recorded import WHYS as UNDECIDABLE
from tests.recorded import WEB, record_of, user

AUDIT = Path("decisions.jsonl")
POLICY, TESTS = Path("learned/orders.yaml"), Path("learned/orders_test.yaml")
LINES = [record_of(path=f"/orders/{n}", user=user(f"u{n % 50}")) for n in range(200)]


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)


def run(*arguments: str) -> Result:
    """One command."""
    return CliRunner().invoke(app, list(arguments))


def learn(lines: list[bytes], *options: str) -> Result:
    """Learn from these lines."""
    AUDIT.write_bytes(b"".join(lines))
    return run("learn", str(AUDIT), *options)


def report(lines: list[bytes], *options: str) -> dict[str, Any]:
    """The same as JSON."""
    parsed: dict[str, Any] = json.loads(learn(lines, "--json", *options).stdout)
    return parsed


def test_what_is_written_is_good_for_every_other_command() -> None:
    """Formatted, valid, without findings, tested in full, and nothing on record flips but that it is enforced."""
    result = learn([*LINES, *[record_of(path="/orders", method="POST", workload="spiffe://shop.example/batch")] * 5])
    assert result.exit_code == 0, result.output
    assert "205 records: 205 learned, 0 left out" in result.stdout
    assert "replayed on what is written: 205 of 205 are allowed" in result.stdout
    for command in ("policy fmt --check", "validate", "lint", "test --fail-under 100 --mutate"):
        done = run(*command.split(), "learned")
        assert done.exit_code == 0, done.output
    [flip] = {
        (flip["change"], flip["after"]["decision"])
        for flip in json.loads(run("replay", str(AUDIT), "--policies", "learned", "--json").stdout)["flips"]
    }
    assert flip == ("other", "allow")


def test_the_policy_is_one_to_go_on_from() -> None:
    """With where it is from."""
    assert learn(LINES).exit_code == 0
    assert POLICY.read_text() == (
        "# Learned from 200 records between 2026-03-02T10:00:00.000000Z and 2026-03-02T10:00:00.000000Z: "
        "read it before it decides.\n"
        "kind: service\nname: orders\nhosts: [orders.shop.example]\n\nrules:\n"
        "  - id: web-for-users-of-corp-may-read-orders\n"
        "    description: Learned from 200 records, 2026-03-02 to 2026-03-02.\n"
        "    effect: allow\n"
        f'    from: [{{workloads: ["{WEB}"], users: {{issuer: corp}}}}]\n'
        '    to: [{methods: [GET], paths: ["/orders/{order_id:int}"]}]\n'
    )


def test_nothing_is_overwritten() -> None:
    """Neither the policy nor its tests."""
    assert learn(LINES).exit_code == 0
    before = POLICY.read_bytes()
    TESTS.unlink()
    result = learn(LINES[:10])
    assert result.exit_code == 1
    assert "learned/orders.yaml: there already; nothing was written: name another --output" in result.stderr
    assert POLICY.read_bytes() == before
    assert not TESTS.exists()


def test_what_is_left_out_is_told_with_examples() -> None:
    """And each reason in words."""
    lines = [*LINES, record_of(method="TRACE"), record_of(workload=None, path="/health"), b"broken\n"]
    result = learn(lines)
    assert "203 records: 200 learned, 3 left out" in result.stdout
    assert "left out: 1 no_identity: neither a workload nor a user: --allow-anonymous learns them" in result.stdout
    assert "    GET orders.shop.example/health · no identity · d1" in result.stdout
    for file in (POLICY, TESTS):
        file.unlink()
    left = {each["why"]: each["records"] for each in report(lines)["left_out"]}
    assert left == {"unusual_method": 1, "no_identity": 1, "unreadable": 1}


def test_what_is_allowed_all_the_same_is_told() -> None:
    """Somebody has denied it before."""
    denied = record_of(path="/orders/999", user=user(), decision="deny", would_deny=False, mode="enforce")
    result = learn([*LINES, denied])
    assert result.exit_code == 0
    assert (
        "  allowed all the same, of what was left out: 1 denied\n"
        f"    GET orders.shop.example/orders/999 · {WEB}, user ann of corp · d1\n"
    ) in result.stdout
    for file in (POLICY, TESTS):
        file.unlink()
    [left] = report([*LINES, denied])["left_out"]
    assert (left["why"], left["records"], left["allowed"]) == ("denied", 1, 1)


def test_hostile_requests_do_not_act_on_the_terminal() -> None:
    """What they hold is shown, and does nothing."""
    forged = record_of(user=user("ann\nreplayed on what is written: nothing"), path="/seldom")
    result = learn([*LINES, record_of(path="/\x1b[2J/..\u202e"), forged])
    assert result.exit_code == 0
    assert "\nreplayed on what is written: nothing" not in result.stdout
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_one_service_can_be_chosen() -> None:
    """Records of others are counted, and no more."""
    found = report([*LINES, record_of(service="shop/web"), record_of(service=None)], "--service", "orders")
    assert (found["records"], found["other_services"], found["learned"]) == (200, 2, 200)
    assert [service["name"] for service in found["services"]] == ["orders"]


def test_a_service_that_is_not_on_record_is_told_with_those_that_are() -> None:
    """Its name may be cut short, or be another one."""
    web = record_of(service="shop/web", host="web.shop.example")
    result = learn([*LINES, web, record_of(service=None)], "--service", "shop/orders")
    assert result.exit_code == 1
    assert result.stderr.endswith("nothing to learn of `shop/orders`: no record; on record are orders, shop/web\n")


def test_a_service_whose_records_were_all_left_out_is_said_to_be_on_record() -> None:
    """How many there are, and why none was used; a line that is no record is of no service."""
    nobody = [record_of(workload=None, path=f"/orders/{n}") for n in range(3)]
    denied = record_of(decision="deny", would_deny=False, reason="denied_by_rule")
    result = learn([*nobody, denied, b"no record\n", record_of(service="shop/web")], "--service", "orders")
    assert result.exit_code == 1
    assert result.stderr == (
        "authz: there is nothing to learn of `orders`: 4 records, left out because of no_identity, denied\n"
    )


def test_without_any_record_there_is_nothing_to_learn() -> None:
    """That the file was empty is said, and not only that nothing came of it."""
    assert learn([]).stderr == "authz: there is nothing to learn: no record\n"


def test_every_service_has_its_file_by_its_namespace() -> None:
    """Where no service is chosen."""
    web = record_of(service="shop/web", host="web.shop.example")
    assert learn([*LINES, web, web], "--output", "drafts").exit_code == 0
    assert Path("drafts/shop/web.yaml").is_file()
    assert run("test", "drafts", "--fail-under", "100").exit_code == 0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "there is nothing to learn"),
        ([b"\x00\xff\n", b"{}\n", b"[1]\n"], "there is nothing to learn"),
        ([record_of(workload=None)] * 5, "there is nothing to learn"),
        ([record_of()], "there is nothing to learn"),
    ],
)
def test_of_nothing_nothing_is_learned(lines: list[bytes], message: str) -> None:
    """No file is written."""
    result = learn(lines)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not Path("learned").exists()


def test_too_much_for_one_file_is_refused() -> None:
    """What would help is to say which paths are alike."""
    letters = "abcdefghij"
    words = [f"{a}{b}{c}" for a in letters for b in letters for c in letters]
    lines = [record_of(path=f"/{word}" * 400) for word in words[:800]]
    result = learn(lines, "--min-count", "1", "--words", "0")
    assert result.exit_code == 1
    assert "--template" in result.stderr
    assert not Path("learned").exists()


def test_callers_that_the_configuration_does_not_have_are_left_out() -> None:
    """The policy would not load there."""
    Path("authz.yaml").write_text(
        "workloads: {trust_domains: {shop.example: {}}}\n"
        "issuers: {partner: {issuer: 'https://p.example/', audiences: [a], keys: {url: 'https://p.example/k'}}}\n"
    )
    found = report([*LINES, record_of(), record_of()])
    assert {each["why"]: each["records"] for each in found["left_out"]} == {"unknown_issuer": 200}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learn", "missing.jsonl"], "missing.jsonl is no file"),
        (["learn", "decisions.jsonl", "--template", "orders"], "a path begins with `/`"),
        (["learn", "decisions.jsonl", "--min-count", "0"], "must be a whole number of 1 or more, not `0`"),
        (["learn"], "AUDIT"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    """Exit code 2."""
    AUDIT.write_bytes(b"".join(LINES))
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_compressed_files_and_standard_input_are_read() -> None:
    """As by a replay."""
    packed = gzip.compress(b"".join(LINES))
    Path("old.gz").write_bytes(packed)
    assert run("learn", "old.gz", "--output", "a").exit_code == 0
    result = CliRunner().invoke(app, ["learn", "-", "--output", "b"], input=b"".join(LINES))
    assert result.exit_code == 0
    assert Path("a/orders.yaml").read_text() == Path("b/orders.yaml").read_text()


def test_a_terminal_shows_how_far_it_is() -> None:
    """On standard error."""
    AUDIT.write_bytes(b"".join(LINES))
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "authz_server", "learn", str(AUDIT)]
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, check=False)
        os.close(follower)
        assert done.returncode == 0
        assert b"100%" in terminal.read(4096)


def test_every_reason_is_told_in_words() -> None:
    """Those of records that do not suffice among them."""
    assert set(UNDECIDABLE) - {"not_recorded"} <= set(WHYS)
