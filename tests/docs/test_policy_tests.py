"""The page about tests of policies prints what `authz test` prints, and names every field."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import BaseModel

from authz_server.policy.testcases import CaseRequest, CaseUser, Expectation, PolicyTests
from tests.builders import write_policies
from tests.docs.markdown import ROOT, Block, blocks_of, code_spans, tables_of

PAGE = ROOT / "docs" / "policy-tests.md"
BLOCKS = blocks_of(PAGE)
COMMANDS = [block for block in BLOCKS if "tests" in block.attributes]


def run(command: Block, directory: Path, broken: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of the page on its policies; `broken` is `text=>other text` in the rule."""
    files = {block.attributes["file"]: block.text for block in BLOCKS if "file" in block.attributes}
    if broken:
        right, _, wrong = broken.partition("=>")
        files["policies/orders.yaml"] = files["policies/orders.yaml"].replace(right, wrong)
    write_policies(directory, files)
    authz = Path(sys.executable).with_name("authz")
    words = command.text.replace("authz ", f"{authz} ", 1)
    return subprocess.run(["bash", "-c", words], cwd=directory, capture_output=True, text=True, timeout=60, check=False)


def _shown() -> list[tuple[Block, Block]]:
    return [(command, shown) for command, shown in pairwise(BLOCKS) if "tests-output" in shown.attributes]


@pytest.mark.parametrize(("command", "shown"), _shown(), ids=str)
def test_a_command_prints_what_the_page_shows(command: Block, shown: Block, tmp_path: Path) -> None:
    """On the policies of the page, with the slip that the page speaks of."""
    done = run(command, tmp_path, shown.attributes.get("replace", ""))
    assert done.stdout + done.stderr == shown.text


def test_the_command_for_pipelines_writes_its_report(tmp_path: Path) -> None:
    """And succeeds, because everything is covered."""
    done = run(COMMANDS[-1], tmp_path)
    assert done.returncode == 0, done.stdout
    assert "<testsuites>" in (tmp_path / "report.xml").read_text()


@pytest.mark.parametrize(
    ("column", "model"),
    [
        ("field of the file", PolicyTests),
        ("field of a user", CaseUser),
        ("field of a request", CaseRequest),
        ("field of `expect`", Expectation),
    ],
)
def test_the_tables_name_every_field(column: str, model: type[BaseModel]) -> None:
    """And no other."""
    [table] = tables_of(PAGE, column, "meaning")
    fields = {field.alias or name for name, field in model.model_fields.items()} - {"kind"}
    assert {code_spans(row[0])[0] for row in table.rows} == fields
