"""The page about bundles says what the commands do."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.policy import bundle
from authz_server.policy.loader import load_policies
from tests.docs.markdown import ROOT, blocks_of, tables_of

PAGE = ROOT / "docs" / "policy-bundles.md"


def test_the_commands_of_the_page_work_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At their end the policies are unpacked."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "policies", "policies")
    [block] = [block for block in blocks_of(PAGE) if block.language == "sh"]
    for line in block.text.splitlines():
        done = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
        assert done.exit_code == 0, done.output
    assert load_policies(Path("unpacked")).revision == load_policies(Path("policies")).revision


def test_the_codes_of_the_page_are_all() -> None:
    """No code of the module is left out."""
    [table] = tables_of(PAGE, "code", "why")
    codes = set(re.findall(r'"(bundle_\w+)"', Path(bundle.__file__).read_text()))
    assert {row[0].strip("`") for row in table.rows} == codes
