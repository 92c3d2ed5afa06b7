"""A server with a candidate: what it says is recorded, a roll-out falls back, and nothing else is touched."""

import signal
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.dev.waiting import wait_until
from authz_server.errors import GrpcCode
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from authz_server.policy.callers import Caller
from authz_server.policy.rollout import Rollout
from tests.builders import write_policies
from tests.unit.control.fleet import ask, request
from tests.unit.control.server_process import PATIENCE_S, POLICY, Served

SHUT = POLICY.replace("GET", "PUT")
OTHER = POLICY.replace("GET", "GET, PUT")


class Scene:
    """A server, and the directory of its candidate."""

    def __init__(self, directory: Path) -> None:
        self.served = Served(directory)
        self.file = directory / "candidate" / "orders.yaml"
        self.policies: dict[str, Any] = {"rescan": "200ms"}

    def configure(self, **candidate: Any) -> None:
        """Write the configuration."""
        self.served.prepare(workers=2, policies=self.policies, candidate={"directory": "candidate", **candidate})

    def edit(self, text: str) -> None:
        """Write the candidate."""
        write_policies(self.file.parent, {self.file.name: text})

    def code(self, method: str = "GET", address: str = "10.0.0.1") -> set[int]:
        """What both workers answer to a client."""
        asked = from_client(address, method)
        return {ask(worker, asked).status.code for worker in self.served.endpoints()}

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """The latest of so many such lines in the log."""
        wait_until(lambda: len(self.served.events(event)) >= count, PATIENCE_S, event)
        return self.served.events(event)[-1]

    def told(self, part: str) -> list[str]:
        """What readiness says of this."""
        return [text for text in self.served.readiness()["degraded"] if part in text]


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def from_client(address: str, method: str = "GET") -> CheckRequest:
    """A request of a client."""
    asked = request(method)
    asked.attributes.source.address.socket_address.address = address
    return asked


def test_a_candidate_is_judged_and_a_bad_one_changes_nothing(scene: Scene) -> None:
    """Its decisions are recorded, and explained by its texts; errors in it are told; without files there is none."""
    served = scene.served
    scene.configure()
    scene.edit(SHUT)
    with served.running():
        scene.wait_for("candidate_loaded")
        assert scene.code() == {GrpcCode.OK}
        wait_until(lambda: len(served.decisions()) == 2, PATIENCE_S, "the records")
        record = served.decisions()[0]
        compared = record["compared"]
        assert (compared["decision"], compared["reason"], record["policies"]) == ("deny", "no_rule_allows", None)
        assert compared["revision"] == served.events("candidate_loaded")[0]["revision"]
        assert (
            'authz_candidate_decisions_total{decided_by="in_force",outcome="closed"} 2.0' in served.get("/metrics").text
        )
        listed = CliRunner().invoke(app, ["revisions", "--config", str(served.config)]).output
        assert compared["revision"] not in listed, "it has not decided"
        scene.edit("kind: nothing")
        scene.wait_for("candidate_refused")
        state = served.readiness()
        assert state["status"] == "degraded"
        assert scene.told("the candidate") == [
            f"1 problem ({scene.file}:1:7: unknown_kind) in the files of the candidate; the last good one is asked"
        ]
        assert state["policies"]["problems"] == 0
        scene.code()
        wait_until(lambda: len(served.decisions()) == 4, PATIENCE_S, "the records")
        assert [each["compared"] == compared for each in served.decisions()] == [True] * 4
        scene.file.unlink()
        scene.wait_for("candidate_gone")
        assert served.readiness()["status"] == "ready"
        scene.code()
        wait_until(lambda: len(served.decisions()) == 6, PATIENCE_S, "the records")
        assert [each["compared"] for each in served.decisions()[4:]] == [None] * 2
        scene.edit(OTHER)
        scene.wait_for("candidate_loaded", 2)
        served.policies.write_text(served.policies.read_text().replace("GET", "GET, PUT"))
        scene.wait_for("candidate_in_force")
        assert len(served.events("candidate_gone")) == 1


def test_a_candidate_that_is_broken_from_the_start_is_none(scene: Scene) -> None:
    """The server is ready, serves, and says so."""
    scene.configure(rollout={"percent": 100, "by": "client_ip"})
    scene.edit("kind: nothing")
    with scene.served.running():
        wait_until(lambda: scene.served.readiness()["status"] == "degraded", PATIENCE_S, "readiness")
        assert scene.code() == {GrpcCode.OK}
        [told] = scene.told("in the files of the candidate")
        assert told.endswith("none is asked")
        assert "\nauthz_candidate_problems 1.0\n" in scene.served.get("/metrics").text


def test_a_roll_out_that_denies_too_much_falls_back_and_stays_so(scene: Scene) -> None:
    """By itself, within seconds; a restart does not begin again; the operator can, and so can another candidate."""
    served = scene.served
    scene.configure(
        rollout={"percent": 100, "by": "client_ip"}, fall_back={"denials": 10, "decisions": 20, "window": "1h"}
    )
    scene.edit(SHUT)
    with served.running():
        loaded = scene.wait_for("candidate_loaded")
        assert (loaded["percent"], loaded["by"]) == (100, "client_ip")
        assert "\nauthz_candidate_rollout_percent 100.0\n" in served.get("/metrics").text
        assert scene.code("PUT") == {GrpcCode.OK}
        assert scene.code() == {GrpcCode.PERMISSION_DENIED}
        assert scene.code("GET", "") == {GrpcCode.OK}, "whoever has no address is not in the share"
        wait_until(lambda: scene.code() == {GrpcCode.OK}, PATIENCE_S, "the roll-out to fall back")
        back = scene.wait_for("rollout_fell_back")
        assert back["closed"] > 2
        wait_until(lambda: bool(scene.told("the roll-out fell back")), PATIENCE_S, "readiness")
        text = served.get("/metrics").text
        assert "\nauthz_candidate_fall_backs_total 1.0\n" in text
        assert "\nauthz_candidate_rollout_percent 0.0\n" in text
        wait_until(lambda: any(each["policies"] for each in served.decisions()), PATIENCE_S, "the records")
        rolled_out = [each for each in served.decisions() if each["policies"] == "candidate"]
        assert {each["revision"] for each in rolled_out} == {loaded["revision"]}
        closed = [each for each in rolled_out if each["decision"] == "deny"]
        assert {(each["compared"]["decision"], each["compared"]["revision"]) for each in closed} == {
            ("allow", served.readiness()["policies"]["revision"])
        }
    with served.running():
        scene.wait_for("candidate_loaded", 1)
        assert scene.code() == {GrpcCode.OK}
        assert scene.told("the roll-out fell back")
        resumed = CliRunner().invoke(app, ["candidate", "resume", "--config", str(served.config)])
        assert resumed.exit_code == 0, resumed.output
        assert loaded["revision"] in resumed.output
        scene.wait_for("rollout_resumed")
        wait_until(lambda: scene.code() == {GrpcCode.PERMISSION_DENIED}, PATIENCE_S, "the roll-out to go on")
        assert scene.told("the roll-out fell back") == []
        wait_until(lambda: scene.code() == {GrpcCode.OK}, PATIENCE_S, "it to fall back again")
        scene.edit(OTHER)
        wait_until(lambda: scene.code("PUT") == {GrpcCode.OK}, PATIENCE_S, "another candidate to be rolled out")
    assert CliRunner().invoke(app, ["candidate", "resume", "--config", str(served.config)]).exit_code == 0
    assert CliRunner().invoke(app, ["candidate", "resume", "--config", str(served.config)]).exit_code == 1


def test_the_section_of_the_candidate_is_taken_up_without_new_workers(scene: Scene) -> None:
    """Another share, another directory, no candidate: after SIGHUP, by the very workers that were there."""
    served = scene.served
    never = {"denials": 100}
    scene.configure(rollout={"percent": 1, "by": "client_ip"}, fall_back=never)
    scene.edit(SHUT)
    clients = [f"10.0.0.{number}" for number in range(200)]
    client = next(each for each in clients if in_share(each, 30) and not in_share(each, 1))
    with served.running():
        scene.wait_for("candidate_loaded")
        pids = served.workers()
        assert scene.code("GET", client) == {GrpcCode.OK}
        scene.configure(rollout={"percent": 30, "by": "client_ip"}, fall_back=never)
        served.signal(signal.SIGHUP)
        wait_until(lambda: scene.code("GET", client) == {GrpcCode.PERMISSION_DENIED}, PATIENCE_S, "the larger share")
        changed = scene.wait_for("candidate_changed")
        assert changed["percent"] == 30
        write_policies(scene.file.parent.parent / "next", {"orders.yaml": OTHER})
        scene.configure(directory="next", rollout={"percent": 100, "by": "client_ip"}, fall_back=never)
        served.signal(signal.SIGHUP)
        wait_until(lambda: scene.code("PUT") == {GrpcCode.OK}, PATIENCE_S, "the other directory")
        served.prepare(workers=2, policies=scene.policies)
        served.signal(signal.SIGHUP)
        wait_until(lambda: scene.code("PUT") == {GrpcCode.PERMISSION_DENIED}, PATIENCE_S, "no candidate")
        assert served.workers() == pids
        assert served.readiness()["status"] == "ready"
        assert yaml.safe_load(served.config.read_text()).get("candidate") is None


def in_share(address: str, percent: int) -> bool:
    """Whether a client is."""
    return Rollout(percent, "client_ip").includes(Caller(None, None, ip_address(address)))
