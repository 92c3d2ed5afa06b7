"""The example of the page on learning is what comes of its records."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from authz_server.cli.learned import WHYS
from tests.docs.markdown import ROOT, Block, blocks_of, code_spans, tables_of

PAGE = ROOT / "docs" / "learn.md"


def _block(name: str) -> Block:
    [block] = [block for block in blocks_of(PAGE) if block.attributes.get("learn") == name]
    return block


def _run(command: str) -> Result:
    return CliRunner().invoke(app, command.split()[1:])


def test_the_commands_of_the_page_work_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what they print and write, word for word."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)
    Path("decisions.jsonl").write_text(_block("records").text)
    learn, *checks = [line for block in blocks_of(PAGE) if block.language == "sh" for line in block.text.splitlines()]
    learned = _run(learn)
    assert learned.exit_code == 0, learned.output
    assert learned.stdout == _block("shown").text
    assert Path("learned/shop/orders.yaml").read_text() == _block("policy").text
    # The replay shows that what went through in audit is allowed now, and the rest denied.
    assert [_run(check).exit_code for check in checks] == [0, 0, 0, 1]


def test_every_reason_to_leave_something_out_is_on_the_page() -> None:
    """In the words of the report."""
    [table] = tables_of(PAGE, "why", "what it means")
    assert {code_spans(why)[0]: meaning for why, meaning in table.rows} == WHYS
