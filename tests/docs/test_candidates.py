"""The commands on the page about candidates print what it shows."""

import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.control.findings import Counted, Findings, FindingsFile
from authz_server.control.flip_tally import FlipTally
from authz_server.control.kept_policies import Size
from authz_server.control.revisions import Revisions
from authz_server.policy.files import read_directory, revision
from authz_server.policy.loader import load_policies
from authz_server.replay.recorded import read_record
from tests.compared import ALLOWED, REFUSED, compared
from tests.docs.markdown import ROOT, Block, blocks_of

PAGE = ROOT / "docs" / "candidates.md"
SINCE = 1772445600.0
DECISION = "019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d"
RECORDS: list[dict[str, Any]] = [
    {"path": "/orders/8", "user": {"issuer": "corp", "subject": "bob"}, "time": "2026-03-02T10:00:01.000000Z"},
    {"path": "/orders/9", "user": {"issuer": "corp", "subject": "bob"}, "time": "2026-03-02T10:00:02.000000Z"},
    {
        **REFUSED,
        "path": "/orders",
        "user": {"issuer": "corp", "subject": "eve"},
        "time": "2026-03-02T10:00:03.000000Z",
        "said": ALLOWED | {"rule": "orders/auditors"},
        "inputs": {"user.scopes": ["audit"]},
    },
]


def _text(name: str) -> str:
    [block] = [block for block in blocks_of(PAGE) if block.attributes.get("candidate") == name]
    return block.text


def _commands() -> list[tuple[Block, Block]]:
    """Each with what the page says that it prints."""
    blocks = blocks_of(PAGE)
    return [(block, after) for block, after in pairwise(blocks) if "output" in after.attributes]


def test_the_commands_of_the_page_print_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, word for word: hashes are of what stands there."""
    monkeypatch.chdir(tmp_path)
    for name in ("policies", "candidate"):
        Path(name).mkdir()
        Path(name, "orders.yaml").write_text(_text(name))
    Path("authz.yaml").write_text(_text("authz.yaml"))
    _judged(Path("run"))
    commands = _commands()
    assert len(commands) == 6
    for command, shown in commands:
        arguments = shlex.split(command.text)
        assert arguments.pop(0) == "authz"
        done = CliRunner().invoke(app, arguments)
        assert done.output == shown.text, str(shown)


def _judged(run: Path) -> None:
    """A server has taken the records."""
    plan = load_policies(Path("policies")).plan
    candidate = revision(read_directory(Path("candidate"))[0])
    assert plan is not None
    Revisions(run / "revisions", Path("policies"), 9, 1 << 20).write(
        read_directory(Path("policies"))[0], SINCE, Size(1, 1)
    )
    tally = FlipTally(plan, plan, Findings(plan.revision, candidate, SINCE))
    for number, changes in enumerate(RECORDS):
        record = compared(plan.revision, candidate, decision_id=f"{DECISION[:-1]}{number:x}", **_inputs(changes))
        tally.add(read_record(record), record)
    counted = Counted({"same": 37, "closed": 2, "opened": 1, "other": 0}, 0.0008)
    FindingsFile(run / "candidate.findings").write(Findings(plan.revision, candidate, SINCE, tally.flips, {}, counted))


def _inputs(changes: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": {"user.scopes": ["orders:read"]}} | changes
