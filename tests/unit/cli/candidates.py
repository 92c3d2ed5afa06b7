"""A candidate that a server has judged, for tests of `authz candidate`."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from authz_server.control.findings import Counted, Findings, FindingsFile
from authz_server.control.flip_tally import FlipTally
from authz_server.control.kept_policies import Size
from authz_server.control.revisions import Revisions
from authz_server.policy.files import read_directory, revision
from authz_server.policy.loader import load_policies
from authz_server.replay.recorded import read_record
from tests.builders import write_policies
from tests.compared import ALLOWED, IN_FORCE, REFUSED, compared

CONFIG = """
issuers: {corp: {issuer: 'https://login.example/', audiences: [shop]}}
candidate: {directory: candidate}
"""
NARROWER = IN_FORCE.replace("[read]", "[read, vip]")
WEB = "spiffe://shop.example/ns/front/sa/web"
CLOSED: dict[str, Any] = {"inputs": {"user.scopes": ["read"]}}
OPENED: dict[str, Any] = {**REFUSED, "said": ALLOWED, "method": "HEAD"}


class Scene:
    """A directory with policies in force, a candidate, and what a server has found."""

    def __init__(self, directory: Path) -> None:
        self.policies, self.candidate = directory / "policies", directory / "candidate"
        (directory / "authz.yaml").write_text(CONFIG)
        write_policies(self.policies, {"orders.yaml": IN_FORCE})
        write_policies(self.candidate, {"orders.yaml": NARROWER})
        self.store = Revisions(directory / "run" / "revisions", Path("policies"), 9, 1 << 20)
        self.store.write(read_directory(Path("policies"))[0], 1772442000.0, Size(1, 1))
        self.file = FindingsFile(directory / "run" / "candidate.findings")
        self.in_force, self.judged = self.here(self.policies), self.here(self.candidate)

    def here(self, directory: Path) -> str:
        """The revision in a directory."""
        return revision(read_directory(directory)[0])

    def found(self, *changes: dict[str, Any], checks: dict[str, int] | None = None) -> None:
        """The server has found these."""
        self.take(*[compared(self.in_force, self.judged, **change) for change in changes], checks=checks)

    def take(self, *lines: bytes, checks: dict[str, int] | None = None) -> None:
        """The server has seen these lines."""
        plan = load_policies(self.policies).plan
        assert plan is not None
        tally = FlipTally(plan, plan, Findings(self.in_force, self.judged, 0.0))
        for each in lines:
            assert tally.add(read_record(each), each)
        counted = Counted({"same": 8, "closed": len(lines)} if checks is None else checks, 0.0004)
        self.file.write(Findings(self.in_force, self.judged, 1772442000.0, tally.flips, dict(tally.more), counted))

    def ids(self) -> list[str]:
        """Of the flips, as the report has them."""
        return [flip["id"] for flip in self.report_in_json()["flips"]]

    def report_in_json(self) -> dict[str, Any]:
        """What machines get."""
        result = run("report", "--json")
        assert result.stdout, result.exception
        parsed: dict[str, Any] = json.loads(result.stdout)
        return parsed


def run(*arguments: str) -> Result:
    """Run a command in this directory."""
    return CliRunner().invoke(app, ["candidate", *arguments])


def entered(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """The scene, with this as the working directory."""
    monkeypatch.chdir(directory)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)
    return Scene(directory)
