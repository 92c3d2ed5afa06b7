"""The examples of the page on analysis are what the commands print."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz_server.cli import app
from tests.docs.markdown import ROOT, Block, blocks_of

BLOCKS = blocks_of(ROOT / "docs" / "policy-analysis.md")


def _block(kind: str, name: str) -> Block:
    [block] = [block for block in BLOCKS if block.attributes.get(kind) == name]
    return block


def test_the_differences_of_the_page_are_those_of_its_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word."""
    monkeypatch.chdir(tmp_path)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "orders.yaml").write_text(_block("diff", name).text)
    result = CliRunner().invoke(app, ["diff", "old", "new"])
    assert result.exit_code == 1
    assert result.stdout == _block("diff", "shown").text
