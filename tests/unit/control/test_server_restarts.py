"""The whole server as a process: its end, and what the next one finds."""

import signal
from pathlib import Path

from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.dev.waiting import wait_until
from authz_server.errors import GrpcCode
from tests.builders import write_policies
from tests.unit.control.server_process import PATIENCE_S, Served


def test_it_ends_in_order_when_told_to(other: Served) -> None:
    """SIGTERM: exit code 0, every decision recorded, no process and no ring left."""
    with other.running():
        assert other.code() == {GrpcCode.OK}
        workers = other.workers()
        other.signal(signal.SIGTERM)
        assert other.exit_code() == 0
    assert len(other.decisions()) == 2
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert list((other.directory / "run" / "rings").iterdir()) == []


def test_workers_end_when_the_control_process_is_killed(other: Served) -> None:
    """The next server takes over their address and writes what they had recorded."""
    with other.running():
        workers = other.workers()
        other.signal(signal.SIGKILL)
        other.exit_code()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), PATIENCE_S, "the workers' end")
    with other.running():
        assert other.code() == {GrpcCode.OK}


def test_records_that_a_killed_server_left_are_written_by_the_next(other: Served) -> None:
    """A stopped control process cannot drain; its workers go on recording, and nothing is lost."""
    with other.running():
        # Ready is the server with one worker; a stopped control process helps no other one up.
        wait_until(lambda: other.readiness()["status"] == "ready", PATIENCE_S, "both workers")
        assert len(other.endpoints()) == 2
        other.signal(signal.SIGSTOP)
        assert other.code() == {GrpcCode.OK}
        other.signal(signal.SIGKILL)
        other.exit_code()
    with other.running():
        wait_until(lambda: len(other.decisions()) == 2, PATIENCE_S, "the records")


def test_a_server_that_is_restarted_at_once_waits_for_the_workers_before(other: Served) -> None:
    """They finish their calls, and hold the sockets until then."""
    other.prepare(listen="unix:sockets/check-{worker}.sock")
    with other.running():
        other.signal(signal.SIGKILL)
        other.exit_code()
    with other.running():
        assert other.code() == {GrpcCode.OK}


def test_bad_policies_at_the_start_are_waited_for(other: Served) -> None:
    """NOT ready, every request denied, until they are mended."""
    other.policies.write_text("kind: nothing")
    with other.running(ready=False):
        wait_until(lambda: other.readiness()["policies"]["problems"] > 0, PATIENCE_S, "the look at the policies")
        state = other.readiness()
        assert state["status"] == "not_ready"
        told = f"no policies have been loaded: 1 problem ({other.policies}:1:7: unknown_kind)"
        assert told in state["missing"]
        # The policies are read while the workers start.
        wait_until((other.directory / "run" / "endpoints.yaml").exists, PATIENCE_S, "the workers")
        assert other.readiness()["missing"] == [told]
        assert other.code() == {GrpcCode.UNAVAILABLE}
        other.prepare()
        wait_until(lambda: other.readiness()["status"] == "ready", PATIENCE_S, "the policies")
        assert other.code() == {GrpcCode.OK}


def test_a_start_with_broken_policies_serves_what_decided_last(other: Served) -> None:
    """Marked as stale in readiness, metric, log and each record, until the directory is good again."""
    with other.running():
        wait_until(lambda: bool(other.events("policies_loaded")), PATIENCE_S, "the report")
        revision = other.readiness()["policies"]["revision"]
    other.policies.write_text("kind: nothing")
    with other.running():
        state = other.readiness()
        assert state["status"] == "degraded"
        assert state["policies"]["revision"] == revision
        assert state["policies"]["first_problem"] == f"{other.policies}:1:7: unknown_kind"
        [told] = [text for text in state["degraded"] if "stale policies decide" in text]
        assert state["policies"]["stale_from"] in told
        [event] = other.events("policies_stale")
        assert (event["revision"], event["activated"]) == (revision, state["policies"]["stale_from"])
        assert other.code() == {GrpcCode.OK}
        assert other.code("DELETE") == {GrpcCode.PERMISSION_DENIED}
        metrics = other.get("/metrics").text
        assert "\nauthz_policy_stale 1.0\n" in metrics
        assert "\nauthz_policy_kept 1.0\n" in metrics
        assert "\nauthz_policy_problems 1.0\n" in metrics
        wait_until(lambda: len(other.decisions()) == 4, PATIENCE_S, "the records")
        assert {(record["revision"], record["stale"]) for record in other.decisions()} == {(revision, True)}
        other.prepare()
        wait_until(lambda: bool(other.events("policies_reloaded")), PATIENCE_S, "the policies")
        assert other.readiness()["status"] == "ready"
        assert other.readiness()["policies"]["stale_from"] is None
        assert "\nauthz_policy_stale 0.0\n" in other.get("/metrics").text
        other.code()
        wait_until(lambda: len(other.decisions()) == 6, PATIENCE_S, "the records")
        assert [(record["revision"], record["stale"]) for record in other.decisions()[4:]] == [(revision, None)] * 2


def test_policies_whose_tests_fail_do_not_decide(other: Served) -> None:
    """Where the configuration asks for tests: readiness says which one fails, and an edit that mends it decides."""
    other.prepare(reload={"require_tests": True}, workers=1)
    tests = "kind: tests\nmatrix: {callers: [anonymous], requests: {wipe: DELETE /}, allow: {anonymous: [wipe]}}\n"
    place = write_policies(other.policies.parent, {"orders_test.yaml": tests}) / "orders_test.yaml"
    with other.running(ready=False):
        wait_until(lambda: bool(other.events("policies_refused")), PATIENCE_S, "the refusal")
        state = other.readiness()
        assert state["status"] == "not_ready"
        assert state["policies"]["first_problem"] == f"{place}:2:80: test_failed"
        place.write_text(tests.replace("DELETE", "GET"))
        wait_until(lambda: bool(other.events("policies_loaded")), PATIENCE_S, "the policies")
        assert other.code() == {GrpcCode.OK}


def test_what_a_killed_server_had_activated_is_kept(other: Served) -> None:
    """What was reported is on disk, and not what was before."""
    with other.running():
        other.policies.write_text(other.policies.read_text().replace("GET", "PUT"))
        wait_until(lambda: bool(other.events("policies_reloaded")), PATIENCE_S, "the report")
        other.signal(signal.SIGKILL)
        other.exit_code()
    other.policies.unlink()
    with other.running():
        assert other.readiness()["policies"]["revision"] == other.events("policies_stale")[0]["revision"]
        assert other.code() == {GrpcCode.PERMISSION_DENIED}
        assert other.code("PUT") == {GrpcCode.OK}


def test_a_decision_of_before_an_edit_is_explained_and_the_edit_taken_back(other: Served) -> None:
    """With what the running server has kept, which takes the earlier policies up by itself."""
    config = ["--config", str(other.config)]
    with other.running():
        first = other.readiness()["policies"]["revision"]
        assert other.code("PUT") == {GrpcCode.PERMISSION_DENIED}
        wait_until(lambda: bool(other.decisions()), PATIENCE_S, "the record")
        other.policies.write_text(other.policies.read_text().replace("GET", "PUT"))
        wait_until(lambda: other.code("PUT") == {GrpcCode.OK}, PATIENCE_S, "the edit")
        wait_until(lambda: bool(other.events("policies_reloaded")), PATIENCE_S, "the report")
        explained = CliRunner().invoke(app, ["explain", other.decisions()[0]["decision_id"], *config])
        assert explained.exit_code == 0, explained.output
        assert "method: PUT is none of `GET`" in explained.output
        assert f"{first}  (kept)" in explained.output
        listed = CliRunner().invoke(app, ["revisions", *config]).output.splitlines()
        assert [line.endswith("  1 service, 1 rule  in the directory") for line in listed] == [True, False]
        assert listed[1].startswith(first)
        undone = CliRunner().invoke(app, ["rollback", first, *config])
        assert undone.exit_code == 0, undone.output
        wait_until(lambda: other.code() == {GrpcCode.OK}, PATIENCE_S, "the policies of before")
        wait_until(lambda: other.readiness()["policies"]["revision"] == first, PATIENCE_S, "the revision of before")


def test_nothing_is_kept_where_that_is_switched_off(other: Served) -> None:
    """What an earlier run has kept is gone too: it would be too old some day."""
    kept = other.directory / "run" / "policies.last-good"
    with other.running():
        wait_until(kept.exists, PATIENCE_S, "what is kept")
    other.prepare(policies={"rescan": "1h", "keep_last_good": False})
    with other.running():
        assert not kept.exists()
        assert "\nauthz_policy_kept 0.0\n" in other.get("/metrics").text
    other.policies.unlink()
    with other.running(ready=False):
        wait_until(lambda: other.readiness()["policies"]["problems"] > 0, PATIENCE_S, "the look at the policies")
        assert other.readiness()["status"] == "not_ready"


def test_a_missing_directory_is_told_from_an_empty_one(other: Served) -> None:
    """Whoever has forgotten to mount it looks for something else than whoever has written nothing."""
    other.prepare(policies={"rescan": "100ms", "keep_last_good": False}, workers=1)
    other.policies.unlink()
    directory = other.policies.parent
    with other.running(ready=False):
        wait_until(lambda: other.readiness()["policies"]["problems"] > 0, PATIENCE_S, "the look at the policies")
        assert other.readiness()["policies"]["first_problem"] == f"{directory}: no_policies"
    directory.rmdir()
    with other.running(ready=False):
        wait_until(lambda: other.readiness()["policies"]["problems"] > 0, PATIENCE_S, "the look at the policies")
        state = other.readiness()
        assert state["policies"]["first_problem"] == f"{directory}: missing_directory"
        assert f"no policies have been loaded: 1 problem ({directory}: missing_directory)" in state["missing"]
