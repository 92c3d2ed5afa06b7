"""The page about sources of policies says what servers do."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from authz_server.control.settings import load_settings
from authz_server.control.sources import source
from authz_server.policy.loader import load_policies
from tests.docs.markdown import ROOT, Block, blocks_of, tables_of
from tests.programs import need

PAGE = ROOT / "docs" / "policy-sources.md"
CONFIGURATIONS = [block for block in blocks_of(PAGE) if block.language == "yaml"]


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_the_configurations_of_the_page_have_a_source(block: Block, tmp_path: Path) -> None:
    """Of the kind that they show, without a problem."""
    text = block.text
    (tmp_path / "authz.yaml").write_text(text)
    loaded = load_settings(tmp_path / "authz.yaml", {})
    assert not loaded.problems
    assert loaded.settings is not None
    assert loaded.settings.policies.source is not None
    assert loaded.settings.policies.source.name in yaml.safe_load(text)["policies"]["source"]


def test_the_codes_of_the_page_are_all() -> None:
    """No code of the modules is left out, but those that all bundles have."""
    [table] = tables_of(PAGE, "code", "why")
    modules = Path(source.__file__).parent.glob("*.py")
    codes = {code for module in modules for code in re.findall(r'[Rr]efused\(\s*"(\w+)"', module.read_text())}
    assert {row[0].strip("`") for row in table.rows} == codes | {"bundle_…"}


def test_the_number_of_commits_is_a_number_of_policies(tmp_path: Path) -> None:
    """As the page writes it."""
    [block] = [block for block in blocks_of(PAGE) if "sources" in block.attributes]
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    identity = ["-c", "user.name=ann", "-c", "user.email=ann@shop.example"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([need("git"), *command], cwd=tmp_path, check=True)
    subprocess.run(["sh", "-c", block.text], cwd=tmp_path, check=True)
    plan = load_policies(tmp_path / "policies").plan
    assert plan is not None
    assert plan.number == 1
