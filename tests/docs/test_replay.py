"""The examples of the page on replays are what the command prints."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.replay import recorded
from tests.docs.markdown import ROOT, Block, blocks_of, code_spans, tables_of

PAGE = ROOT / "docs" / "replay.md"


def _block(name: str) -> Block:
    [block] = [block for block in blocks_of(PAGE) if block.attributes.get("replay") == name]
    return block


def test_what_the_page_shows_is_what_comes_of_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word."""
    monkeypatch.chdir(tmp_path)
    Path("policies").mkdir()
    Path("policies/orders.yaml").write_text(_block("policies").text)
    Path("decisions.jsonl").write_text(_block("records").text)
    result = CliRunner().invoke(app, ["replay", "decisions.jsonl", "--policies", "policies"])
    assert result.exit_code == 1
    assert result.stdout == _block("shown").text


def test_every_reason_to_be_undecidable_is_on_the_page() -> None:
    """And no other."""
    [table] = tables_of(PAGE, "why", "what it means")
    assert {code_spans(why)[0] for why, _ in table.rows} == set(recorded.WHYS)
