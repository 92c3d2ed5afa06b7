"""`authz candidate promote`."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.control import replacement
from authz_server.control.fall_back import FallenBack, FallenBackFile
from authz_server.control.findings import Counted, Findings
from authz_server.control.kept_policies import Size
from authz_server.control.promotion import Objection, Promotion
from authz_server.policy.files import read_directory
from authz_server.policy.loader import load_policies
from tests.builders import write_policies
from tests.compared import ALLOWED, IN_FORCE
from tests.unit.cli.candidates import CLOSED, CONFIG, NARROWER, OPENED, Scene, entered, run


@pytest.fixture(name="scene")
def _scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """And there we are."""
    return entered(tmp_path, monkeypatch)


def test_a_candidate_without_flips_is_promoted(scene: Scene) -> None:
    """And a rollback undoes it, as the output says."""
    scene.found(checks={"same": 5})
    result = run("promote")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"policies holds the candidate {scene.judged} now",
        "  written  orders.yaml",
        f"undo it with: authz rollback {scene.in_force}",
    ]
    assert scene.here(scene.policies) == scene.judged
    assert scene.here(scene.candidate) == scene.judged
    told = run("report")
    assert (told.exit_code, told.stdout) == (0, f"the candidate is what is in force, {scene.judged}: nothing flips\n")
    assert (scene.report_in_json()["flips"], scene.report_in_json()["since"]) == ([], None)
    again = run("promote")
    assert (again.exit_code, again.stdout) == (0, f"policies holds the candidate {scene.judged} already\n")
    assert CliRunner().invoke(app, ["rollback", scene.in_force]).exit_code == 0
    assert scene.here(scene.policies) == scene.in_force


def test_flips_that_nobody_has_accepted_keep_it_out(scene: Scene) -> None:
    """All are named at once; those with another rule or reason alone do not count."""
    scene.found(CLOSED, OPENED, {"said": ALLOWED | {"rule": "orders/others"}})
    closed, opened, _ = scene.ids()
    result = run("promote", "--accept", closed)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "authz: HEAD orders.shop.example/orders/{order_id} by no workload, user of corp would be allowed (1 record)",
        f"  to do: `authz candidate report {opened}`, then --accept {opened}",
        "authz: nothing was changed",
    ]
    assert scene.here(scene.policies) == scene.in_force
    told = json.loads(run("promote", "--json").stdout)["refused"]
    assert [each["code"] for each in told] == ["flip_not_accepted"] * 2
    assert run("promote", "--accept", closed, "--accept", opened).exit_code == 0
    assert scene.here(scene.policies) == scene.judged


@pytest.mark.parametrize("how", [["--accept", "orders/readers"], ["--accept-all"]])
def test_flips_are_accepted_by_rule_or_all_at_once(scene: Scene, how: list[str]) -> None:
    """A rule stands for all flips that it decides before or after."""
    scene.found(CLOSED, OPENED)
    assert run("promote", *how).exit_code == 0


def test_a_candidate_that_was_not_judged_is_kept_out(scene: Scene) -> None:
    """Unless somebody says that it is meant."""
    scene.found(checks={"skipped": 2})
    result = run("promote")
    assert result.exit_code == 1
    assert "authz: no check has been compared yet" in result.stderr
    scene.found(CLOSED)
    scene.file.remove()
    assert "authz: no server has judged a candidate here" in run("promote").stderr
    assert run("promote", "--unjudged").exit_code == 0
    assert scene.here(scene.policies) == scene.judged


def test_a_candidate_that_was_edited_since_is_kept_out(scene: Scene) -> None:
    """What was accepted was another one's."""
    scene.found(CLOSED)
    write_policies(scene.candidate, {"orders.yaml": NARROWER + "# more\n"})
    edited = scene.here(scene.candidate)
    result = run("promote", "--accept-all")
    assert result.exit_code == 1
    assert f"the candidate in candidate is {edited}, and {scene.judged} was judged" in result.stderr
    assert run("promote", "--unjudged").exit_code == 0
    assert scene.here(scene.policies) == edited


def test_policies_that_were_edited_since_are_not_replaced(scene: Scene) -> None:
    """It was compared with others, and the edit would be lost."""
    scene.found(checks={"same": 5})
    write_policies(scene.policies, {"orders.yaml": IN_FORCE + "# more\n"})
    edited = scene.here(scene.policies)
    result = run("promote")
    assert result.exit_code == 1
    assert f"it was compared with {scene.in_force}, and policies holds {edited}" in result.stderr
    result = run("promote", "--unjudged")
    assert result.exit_code == 1
    assert "authz: what is in force could not be put back" in result.stderr
    assert scene.here(scene.policies) == edited


def test_a_broken_candidate_is_kept_out(scene: Scene) -> None:
    """With its problems, as `authz validate` shows them; nothing helps against that."""
    scene.found(CLOSED)
    write_policies(scene.candidate, {"orders.yaml": NARROWER.replace("effect", "efect")})
    result = run("promote", "--unjudged", "--accept-all")
    assert result.exit_code == 1
    assert "candidate/orders.yaml:" in result.stderr
    assert "did you mean `effect`" in result.stderr
    assert "authz: the candidate in candidate has problems\n  to do: mend them" in result.stderr
    assert scene.here(scene.policies) == scene.in_force


@pytest.mark.parametrize("missing", ["directory", "file"])
def test_where_there_is_no_candidate_that_alone_is_told(missing: str, scene: Scene) -> None:
    """Not that a directory cannot be read, or that nobody judged it."""
    scene.found(CLOSED)
    (scene.candidate / "orders.yaml").unlink()
    if missing == "directory":
        scene.candidate.rmdir()
    result = run("promote")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-3:] == [
        "authz: there is no candidate: candidate has no policies",
        "  to do: put the policies there that are to be judged",
        "authz: nothing was changed",
    ]
    assert [each["code"] for each in json.loads(run("promote", "--json").stdout)["refused"]] == ["no_candidate"]


def test_a_candidate_has_to_pass_its_tests_where_they_are_required(scene: Scene) -> None:
    """As an edit would."""
    scene.found(checks={"same": 5})
    Path("authz.yaml").write_text(CONFIG + "reload: {require_tests: true}\n")
    result = run("promote")
    assert result.exit_code == 1
    assert "the policies have no test, and `reload.require_tests` asks for them" in result.stderr
    Path("authz.yaml").write_text(CONFIG)
    assert run("promote").exit_code == 0


@pytest.mark.parametrize(("keep", "size"), [(0, "9MB"), (1, "9MB"), (9, "1MB")])
def test_what_could_not_be_undone_is_not_done(scene: Scene, keep: int, size: str) -> None:
    """Both revisions have to find room where they are kept."""
    scene.found(checks={"same": 5})
    Path("authz.yaml").write_text(CONFIG + f"policies: {{revisions: {{keep: {keep}, size: {size}}}}}\n")
    more = IN_FORCE.replace("orders", "more")
    texts = {"orders.yaml": NARROWER, "more.yaml": more}
    write_policies(scene.candidate, {name: f"{text}# {'x' * 600_000}\n" for name, text in texts.items()})
    result = run("promote", "--unjudged")
    assert result.exit_code == 1
    assert "authz: both revisions cannot be kept (`policies.revisions`)" in result.stderr
    assert scene.here(scene.policies) == scene.in_force


def test_flips_that_found_no_room_have_to_be_accepted_too(scene: Scene) -> None:
    """Nobody knows what they are."""
    counted = Counted({"closed": 3}, 0.1)
    scene.file.write(Findings(scene.in_force, scene.judged, 1.0, (), {"closed": 3, "other": 2}, counted))
    assert run("report").exit_code == 1
    assert "3 records more: closed, of kinds that found no room" in run("report").stdout
    result = run("promote")
    assert result.exit_code == 1
    assert "authz: 3 records flip whose kinds found no room in the report" in result.stderr
    assert run("promote", "--accept-all").exit_code == 0


def test_a_roll_out_that_fell_back_is_told_and_keeps_it_out(scene: Scene) -> None:
    """Whatever is accepted: first somebody says that it may go on."""
    scene.found(CLOSED)
    file = FallenBackFile(Path("run/candidate.fallen-back"))
    file.write(FallenBack("0" * 32, 1772442000.0, 100, 9, 60.0))
    assert "fell back" not in run("report").stdout
    file.write(FallenBack(scene.judged, 1772442000.0, 100, 9, 60.0))
    told = "fell back: of 100 decisions within 1m, 9 were denials that the policies in force would not have made"
    assert told in run("report").stdout
    assert scene.report_in_json()["fell_back"].startswith("of 100 decisions")
    result = run("promote", "--accept-all")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"authz: its roll-out {told} (2026-03-02T09:00:00Z, candidate {scene.judged})",
        "  to do: mend the candidate, or say `authz candidate resume`",
        "authz: nothing was changed",
    ]
    assert "; mend the candidate, or say `authz candidate resume`\n" in run("report").stdout
    assert json.loads(run("resume", "--json").stdout) == {"candidate": scene.judged}
    assert run("promote", "--accept-all").exit_code == 0


def test_where_nothing_fell_back_that_is_told_as_json(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a promotion that is refused; so is what cannot be removed."""

    def refused() -> dict[str, object]:
        result = run("resume", "--json")
        assert result.exit_code == 1
        [told] = json.loads(result.stdout)["refused"]
        found: dict[str, object] = told
        return found

    told = refused()
    assert set(told) == {"code", "message", "to_do", "problems"}
    assert (told["code"], told["problems"]) == ("nothing_fell_back", [])
    assert "authz: no roll-out fell back: there is no " in run("resume").stderr

    def fail(_: FallenBackFile) -> bool:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(FallenBackFile, "remove", fail)
    assert refused()["code"] == "not_resumed"


def test_a_promotion_that_was_interrupted_can_be_finished_or_taken_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server takes the mixture, and the file that sees to that says what to do."""
    scene.found(checks={"same": 5})
    put_in_place = replacement._put_in_place

    def put(root: int, path: str) -> None:
        if path != replacement.BARRIER:
            raise OSError(5, "Input/output error")
        put_in_place(root, path)

    for wanted in (scene.judged, scene.in_force):
        with monkeypatch.context() as broken:
            broken.setattr(replacement, "_put_in_place", put)
            result = run("promote")
        barrier = scene.policies / replacement.BARRIER
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-2:] == [
            "authz: it did not finish: Input/output error",
            f"  to do: mend that, and say `authz rollback --force {scene.judged}`; "
            f"until then {Path('policies') / replacement.BARRIER} keeps every server from taking the directory, "
            "and what decided goes on",
        ]
        assert f"authz rollback --force {scene.judged}" in barrier.read_text()
        assert load_policies(scene.policies).plan is None
        assert CliRunner().invoke(app, ["rollback", "--force", wanted]).exit_code == 0
        assert scene.here(scene.policies) == wanted
        assert CliRunner().invoke(app, ["rollback", "--force", scene.in_force]).exit_code == 0


@pytest.mark.parametrize("command", ["candidate promote", "rollback"])
def test_what_did_not_finish_is_told_as_json(command: str, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a code of its own, because something has changed."""
    scene.found(checks={"same": 5})
    assert run("promote").exit_code == 0
    revision = scene.in_force
    if command == "candidate promote":
        assert CliRunner().invoke(app, ["rollback", scene.in_force]).exit_code == 0
        revision = scene.judged
    remove = replacement._remove

    def fail(root: int, path: str) -> None:
        if path == replacement.BARRIER:
            raise OSError(30, "Read-only file system")
        remove(root, path)

    monkeypatch.setattr(replacement, "_remove", fail)
    named = [] if command == "candidate promote" else [revision]
    result = CliRunner().invoke(app, [*command.split(), *named, "--json"])
    assert result.exit_code == 1
    [told] = json.loads(result.stdout)["refused"]
    assert (told["code"], told["problems"]) == ("unfinished", [])
    assert told["message"] == "it did not finish: Read-only file system"
    assert f"say `authz rollback --force {revision}`" in told["to_do"]


def test_a_roll_out_of_which_nobody_knows_whether_it_fell_back_keeps_it_out(scene: Scene) -> None:
    """The server does not roll it out either."""
    scene.found(checks={"same": 3})
    file = scene.file.path.with_name("candidate.fallen-back")
    file.write_bytes(b"damaged")
    told = "whether the roll-out fell back is not known: others may use it"
    assert told in run("report").stdout
    result = run("promote", "--json")
    assert result.exit_code == 1
    assert [each["code"] for each in json.loads(result.stdout)["refused"]] == ["rollout_fell_back"]
    assert scene.here(scene.policies) == scene.in_force
    assert json.loads(run("resume", "--json").stdout) == {"candidate": None}
    assert run("promote").exit_code == 0


def test_policies_that_are_replaced_meanwhile_are_not_those_that_were_compared(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's rollback, to a revision that is kept, stays."""
    scene.found(checks={"same": 3})
    write_policies(scene.policies, {"orders.yaml": IN_FORCE + "# others\n"})
    other = scene.here(scene.policies)
    scene.store.write(read_directory(Path("policies"))[0], 1772442001.0, Size(1, 1))
    write_policies(scene.policies, {"orders.yaml": IN_FORCE})
    objections = Promotion.objections

    def meanwhile(promotion: Promotion, *arguments: Any) -> list[Objection]:
        write_policies(scene.policies, {"orders.yaml": IN_FORCE + "# others\n"})
        return objections(promotion, *arguments)

    monkeypatch.setattr(Promotion, "objections", meanwhile)
    result = run("promote", "--json")
    assert result.exit_code == 1
    [refused] = json.loads(result.stdout)["refused"]
    assert (refused["code"], refused["message"]) == (
        "not_replaced",
        f"the directory was changed just now: it holds {other}",
    )
    assert scene.here(scene.policies) == other


def test_where_records_were_lost_each_check_that_flips_needs_one(scene: Scene) -> None:
    """One flip that is accepted must not hide others, whose records somebody has pushed out."""
    scene.found(OPENED, checks={"same": 3, "opened": 2})
    [identity] = scene.ids()
    scene.file.write(replace(scene.file.read(), lost=5))
    assert "  1 check: opened, and no record tells of them (yet)" in run("report").stdout
    result = run("promote", "--accept", identity)
    assert result.exit_code == 1
    assert "authz: 1 check flipped, and no record tells of them" in result.stderr
    assert run("promote", "--accept-all").exit_code == 0


def test_checks_that_flip_without_a_record_are_told_and_keep_it_out(scene: Scene) -> None:
    """They are on their way, or the audit has lost them; those with another rule alone do not count."""
    scene.found(checks={"same": 3, "opened": 2, "other": 1})
    result = run("report")
    assert result.exit_code == 1
    assert "  2 checks: opened, and no record tells of them (yet)" in result.stdout
    result = run("promote")
    assert result.exit_code == 1
    assert "authz: 2 checks flipped, and no record tells of them" in result.stderr
    scene.found(OPENED, checks={"same": 3, "opened": 2, "other": 1})
    assert "2 checks flipped" not in run("promote").stderr
    scene.found(checks={"same": 3, "opened": 2})
    assert run("promote", "--accept-all").exit_code == 0
