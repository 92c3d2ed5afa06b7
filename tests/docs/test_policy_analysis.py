"""The examples of the page on analysis are what the commands print."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz_server.analysis.lint import NOTICES
from authz_server.cli import app
from authz_server.policy.findings import Finding
from tests.docs.markdown import ROOT, Block, blocks_of, code_spans, tables_of

PAGE = ROOT / "docs" / "policy-analysis.md"
BLOCKS = blocks_of(PAGE)


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


def test_the_findings_of_the_page_are_those_of_its_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word; and the table has every code, with its severity."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "orders.yaml").write_text(_block("lint", "policies").text)
    result = CliRunner().invoke(app, ["lint", "policies"])
    assert result.exit_code == 1
    assert result.stdout == _block("lint", "shown").text
    [table] = tables_of(PAGE, "code", "what is found", "severity")
    listed = {code_spans(code)[0]: severity for code, _, severity in table.rows}
    assert listed == {str(code): "notice" if code in NOTICES else "warning" for code in Finding}
