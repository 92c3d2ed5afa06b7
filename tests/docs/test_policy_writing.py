"""The page about writing policies shows what the commands do."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.policy.files import policy_file
from authz_server.policy.formatting import format_policy
from tests.docs.markdown import ROOT, blocks_of

PAGE = ROOT / "docs" / "policy-writing.md"


def test_the_formatted_file_is_that_of_the_page() -> None:
    """From the one before it."""
    [before] = [block for block in blocks_of(PAGE) if "before" in block.attributes]
    [after] = [block for block in blocks_of(PAGE) if "after" in block.attributes]
    assert format_policy(policy_file(Path(), "orders.yaml", before.text.encode())).decode() == after.text


def _commands() -> list[list[str]]:
    [block] = [block for block in blocks_of(PAGE) if "authz policy new" in block.text]
    lines = [line.partition("#")[0] for line in block.text.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[1:] for line in lines]


def test_the_commands_that_start_files_write_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they are good policies, whose tests pass."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)
    asking, *others = _commands()
    assert others[0][: len(asking)] == asking
    for command in others:
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    shown = {block.attributes["new"]: block.text for block in blocks_of(PAGE) if "new" in block.attributes}
    assert {name: (tmp_path / "policies" / "shop" / name).read_text() for name in shown} == shown
    for command in (["validate", "policies"], ["test", "policies"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
