"""`authz candidate report`."""

from pathlib import Path

import pytest

from authz_server.policy.files import read_directory
from tests.builders import write_policies
from tests.compared import ALLOWED, REFUSED, line
from tests.unit.cli.candidates import CLOSED, NARROWER, OPENED, Scene, entered, run


@pytest.fixture(name="scene")
def _scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """And there we are."""
    return entered(tmp_path, monkeypatch)


def test_a_report_has_each_flip(scene: Scene) -> None:
    """With everything that a person wants to know of it, and what was compared."""
    scene.found(CLOSED, CLOSED | {"time": "2026-03-02T11:00:00.000000Z"})
    result = run("report")
    assert result.exit_code == 1
    [identity] = scene.ids()
    assert result.stdout.splitlines() == [
        f"{identity}  ALLOW → DENY  2 records  GET orders.shop.example/orders/{{order_id}}",
        "  no workload, user of corp",
        "    before   ALLOW allowed orders/readers",
        "    after    DENY no_rule_allows",
        "    why      orders/readers: user: the scopes lack `vip` (has `read`)",
        "    first    2026-03-02T10:00:00.000000Z",
        "    last     2026-03-02T11:00:00.000000Z",
        "    example  GET https://orders.shop.example/orders/7 · user ann of corp"
        " · 019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d",
        "",
        "10 checks compared: 8 decided the same, 2 flip (20 %: 2 closed, 0 opened, 0 other)",
        f"  in force   {scene.in_force}",
        f"  candidate  {scene.judged}, judged since 2026-03-02T09:00:00Z",
        "  asking both took 40 µs more a check",
    ]


def test_those_that_close_come_first(scene: Scene) -> None:
    """Then those that open, then the rest."""
    scene.found(OPENED, OPENED, CLOSED, {"said": ALLOWED | {"rule": "orders/others"}})
    assert [flip["change"] for flip in scene.report_in_json()["flips"]] == ["closed", "opened", "other"]


def test_one_flip_is_explained_by_both_policies(scene: Scene) -> None:
    """What came of the rules of each, for its example; whoever has decided it."""
    scene.found(CLOSED)
    [identity] = scene.ids()
    told = run("report", identity).stdout
    in_force, _, candidate = told.partition("\n  candidate\n")
    assert "  in force\n" in in_force
    assert "allow orders/readers  fits" in in_force
    assert "the scopes lack `vip` (has `read`)" in candidate.partition("nearest allow rules")[2]
    by_candidate = line(
        revision=scene.judged, policies="candidate", **REFUSED, compared={"revision": scene.in_force, **ALLOWED}
    )
    scene.take(by_candidate)
    assert run("report", identity).stdout == told
    explained = scene.report_in_json()["flips"][0]["explained"]
    assert explained["in_force"]["rules"][0]["outcome"] == "fits"
    assert explained["candidate"]["changes"]


def test_a_report_for_a_pull_request(scene: Scene) -> None:
    """A row for each flip; what a request holds cannot leave its cell."""
    scene.found(CLOSED | {"path": "/|`\n<script>"})
    result = run("report", "--markdown")
    assert result.exit_code == 1
    [row] = [each for each in result.stdout.splitlines() if "ALLOW → DENY" in each]
    assert row.replace("\\|", "").count("|") == 10
    assert f"| **ALLOW → DENY** | 1 | `{scene.ids()[0]}` |" in row


def test_a_terminal_gets_nothing_that_it_acts_upon(scene: Scene) -> None:
    """Paths are what clients like."""
    scene.found(CLOSED | {"path": "/\x1b[2J\u202e", "user": {"issuer": "corp", "subject": "ann\nnone flips"}})
    for arguments in ((), tuple(scene.ids())):
        told = run("report", *arguments).stdout
        assert "\\u001b[2J\\u202e" in told
        assert all(each.isprintable() or each == "\n" for each in told)
        assert "ann\\u000anone flips" in told, "it is on one line with what it belongs to"
        assert "\nnone flips" not in told


@pytest.mark.parametrize(
    ("checks", "code"), [({"same": 5}, 0), ({}, 2), ({"skipped": 3, "failed": 1}, 2), ({"closed": 1}, 1)]
)
def test_without_flips_it_depends_on_whether_any_check_was_compared(
    scene: Scene, checks: dict[str, int], code: int
) -> None:
    """Of nothing nothing flips: that is no good news."""
    scene.found(checks=checks)
    result = run("report")
    assert result.exit_code == code
    assert ("no check has been compared yet" in result.stderr) == (code == 2)
    assert ("not compared: 3 skipped, 1 failed" in result.stdout) == ("skipped" in checks)


def test_what_is_on_disk_now_is_held_against_what_was_judged(scene: Scene) -> None:
    """The rules of then are still explained, where they are kept."""
    scene.found(CLOSED)
    write_policies(scene.candidate, {"orders.yaml": NARROWER + "# more\n"})
    result = run("report")
    assert f"candidate holds {scene.here(scene.candidate)} now, which is not what is judged here" in result.stdout
    assert f"    why      the revision {scene.judged} is not kept" in result.stdout
    scene.store.write(read_directory(write_policies(Path("again"), {"orders.yaml": NARROWER}))[0], 1.0)
    assert "    why      orders/readers: user: the scopes lack `vip`" in run("report").stdout


def test_wrong_usage_is_told(scene: Scene) -> None:
    """With what to do."""
    assert "nothing is known of a candidate" in run("report").stderr
    scene.found(CLOSED)
    scene.file.path.chmod(0o644)
    assert "others may use it: its mode is 0644, not 0600" in run("report").stderr
    scene.file.remove()
    assert run("report").exit_code == 2
    scene.found(CLOSED)
    assert "'nonsense' is not in the report" in run("report", "nonsense").stderr
    assert run("promote", "--accept", "nonsense").exit_code == 2
    assert run("report", "--json", "--markdown").exit_code == 2
    Path("authz.yaml").write_text("workers: 1\n")
    for command in ("report", "promote", "resume"):
        result = run(command)
        said = "authz: the configuration has no section `candidate`, such as `candidate: {directory: candidate}`\n"
        assert (result.exit_code, result.stderr) == (2, said)
    Path("authz.yaml").unlink()
    assert "no authz.yaml here and no --config" in run("report").stderr
