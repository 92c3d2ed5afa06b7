"""The whole server with a candidate: what it finds, across edits and restarts, and a promotion."""

import signal

from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.control.checked_file import NothingKept
from authz_server.control.findings import Findings, FindingsFile
from authz_server.dev.waiting import wait_until
from authz_server.errors import GrpcCode
from tests.builders import write_policies
from tests.unit.control.server_process import PATIENCE_S, POLICY, Served

OTHER = POLICY.replace("GET", "PUT")
OPENED, CLOSED = "opened", "closed"


def prepare(served: Served, candidate: str = OTHER) -> None:
    """A server that judges a candidate."""
    served.prepare(candidate={"directory": "candidate"})
    write_policies(served.directory / "candidate", {"orders.yaml": candidate})


def found(served: Served) -> Findings | None:
    """What is known, if anything."""
    try:
        return FindingsFile(served.directory / "run" / "candidate.findings").read()
    except NothingKept:
        return None


def flips(served: Served) -> dict[str, int]:
    """How many records each change has."""
    known = found(served)
    return {} if known is None else {flip.kind.change: flip.records for flip in known.flips}


def checks(served: Served) -> int:
    """How many were compared."""
    known = found(served)
    return 0 if known is None else known.compared


def wait_for(served: Served, wanted: dict[str, int]) -> None:
    """Until the report says so."""
    wait_until(lambda: flips(served) == wanted, PATIENCE_S, f"the flips {wanted}")


def wait_for_judge(served: Served, number: int = 1) -> None:
    """Until a candidate is asked for the so-manieth time."""
    wait_until(lambda: len(served.events("candidate_loaded")) == number, PATIENCE_S, "the candidate")


def test_what_the_candidate_decides_differently_is_found(other: Served) -> None:
    """And outlasts a restart; a new candidate begins at nothing."""
    prepare(other)
    with other.running():
        wait_until(lambda: other.readiness()["status"] == "ready", PATIENCE_S, "both workers")
        assert other.code("GET") == {GrpcCode.OK}
        assert other.code("PUT") == {GrpcCode.PERMISSION_DENIED}
        wait_for(other, {CLOSED: 2, OPENED: 2})
        wait_until(lambda: checks(other) == 4, PATIENCE_S, "the checks")
        other.signal(signal.SIGTERM)
        assert other.exit_code() == 0
    with other.running():
        wait_until(lambda: other.readiness()["status"] == "ready", PATIENCE_S, "both workers again")
        assert flips(other) == {CLOSED: 2, OPENED: 2}
        assert other.code("GET") == {GrpcCode.OK}
        wait_for(other, {CLOSED: 4, OPENED: 2})
        assert checks(other) >= 4
        write_policies(other.directory / "candidate", {"orders.yaml": OTHER.replace("PUT", "POST")})
        wait_for_judge(other, 2)
        wait_for(other, {})
        assert other.code("PUT") == {GrpcCode.PERMISSION_DENIED}
        assert other.code("GET") == {GrpcCode.OK}
        wait_for(other, {CLOSED: 2})


def test_an_edit_of_what_is_in_force_begins_at_nothing_too(other: Served) -> None:
    """The candidate stays, and is compared with something else."""
    prepare(other)
    with other.running():
        wait_until(lambda: other.readiness()["status"] == "ready", PATIENCE_S, "both workers")
        assert other.code("GET") == {GrpcCode.OK}
        wait_for(other, {CLOSED: 2})
        write_policies(other.policies.parent, {other.policies.name: POLICY.replace("GET", "GET, PUT")})
        wait_until(lambda: other.code("PUT") == {GrpcCode.OK}, PATIENCE_S, "the edit")
        wait_for(other, {})
        assert other.code("GET") == {GrpcCode.OK}
        wait_for(other, {CLOSED: 2})


def test_a_candidate_is_promoted_and_taken_back(other: Served) -> None:
    """A running server takes both up."""
    prepare(other)
    config = ["--config", str(other.config)]
    with other.running():
        wait_until(lambda: other.readiness()["status"] == "ready", PATIENCE_S, "both workers")
        first = other.readiness()["policies"]["revision"]
        assert other.code("PUT") == {GrpcCode.PERMISSION_DENIED}
        wait_for(other, {OPENED: 2})
        wait_until(lambda: checks(other) == 2, PATIENCE_S, "the checks")
        assert CliRunner().invoke(app, ["candidate", "promote", *config]).exit_code == 1
        done = CliRunner().invoke(app, ["candidate", "promote", "--accept", "orders/everybody-reads", *config])
        assert done.exit_code == 0, done.output
        wait_until(lambda: other.code("PUT") == {GrpcCode.OK}, PATIENCE_S, "the candidate in force")
        wait_until(lambda: not (other.directory / "run/candidate.findings").exists(), PATIENCE_S, "nothing to find")
        told = CliRunner().invoke(app, ["candidate", "report", *config])
        assert told.exit_code == 0
        assert "the candidate is what is in force" in told.output
        undone = CliRunner().invoke(app, ["rollback", first, *config])
        assert undone.exit_code == 0, undone.output
        wait_until(lambda: other.code("PUT") == {GrpcCode.PERMISSION_DENIED}, PATIENCE_S, "the policies of before")
        wait_until(lambda: flips(other).keys() == {OPENED}, PATIENCE_S, "the flips of before")
