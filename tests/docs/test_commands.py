"""The commands in the documentation are run, here or by another test that is named here."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from authz_server.dev.ca import create_ca
from authz_server.dev.demo_setup import Demo
from authz_server.dev.demo_tries import Commands, tries
from authz_server.dev.layout import Files, Ports
from tests.docs.markdown import PAGES, ROOT, Block, blocks_of, code_spans

QUICK_START = ROOT / "docs" / "quick-start.md"
AUTHZ = Path(sys.executable).with_name("authz")
DEMO = Demo(Files(Path("run/demo")), Ports(), Path("policies"))
COMPOSE_UP = "docker compose -f deploy/docker-compose.yaml up"
RUN_ELSEWHERE = {
    "tail -n 1 run/demo/decisions.jsonl": "tests/envoy/test_demo.py::test_every_decision_is_on_record",
    "authz serve --config authz.yaml": "tests/unit/control/test_server.py::test_it_is_alive_and_ready",
    "authz validate --config authz.yaml": "tests/docs/test_commands.py::test_a_configuration_of_the_pages_is_good",
    COMPOSE_UP: "tests/compose/test_compose.py::test_a_request_through_envoy_is_answered_and_recorded_once",
}
"""Command -> the test that runs it, or does what it does."""
SHELL_BLOCKS = [block for page in PAGES for block in blocks_of(page) if block.language == "sh"]


def _demo_commands() -> set[str]:
    """What the demo prints, which a test of the demo pastes into a shell."""
    installed = Commands(DEMO).authz
    return {each.command.replace(installed, ".venv/bin/authz") for each in tries(DEMO)}


def _commands_of(block: Block) -> list[str]:
    """The commands of a block without comments; a line that ends with a backslash goes on."""
    lines = block.text.replace("\\\n", " ").splitlines()
    commands = [" ".join(line.partition("#")[0].split()) for line in lines]
    return [command for command in commands if command]


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=str)
def test_every_command_is_run_by_a_test(block: Block) -> None:
    """A command is one that the demo prints, one that is run below, a target of make, or one that is run elsewhere."""
    if "run" in block.attributes or block.text.strip() in _demo_commands():
        return
    commands = [command for command in _commands_of(block) if not command.startswith("make ")]
    assert [command for command in commands if command not in RUN_ELSEWHERE] == []


def test_the_tests_that_run_commands_elsewhere_exist() -> None:
    """Each is named as pytest names it, and is there."""
    missing = []
    for name in RUN_ELSEWHERE.values():
        path, _, function = name.partition("::")
        tree = ast.parse((ROOT / path).read_text()) if (ROOT / path).exists() else ast.Module([], [])
        if function not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(name)
    assert missing == []


def test_every_make_target_exists() -> None:
    """What the pages tell people to make can be made."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    spans = [span for page in PAGES for span in code_spans(page.read_text())]
    commands = [command for block in SHELL_BLOCKS for command in _commands_of(block)] + spans
    targets = {command.split()[1] for command in commands if command.startswith("make ")}
    unknown = [
        target
        for target in sorted(targets)
        if subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=False).returncode
    ]
    assert unknown == []
    assert {"run", "test"} <= targets


@pytest.mark.parametrize("block", [block for block in SHELL_BLOCKS if "run" in block.attributes], ids=str)
def test_a_command_prints_what_the_page_shows(block: Block) -> None:
    """A block marked `run` prints the text that follows it, in the root of the project."""
    blocks = blocks_of(ROOT / block.page)
    shown = blocks[blocks.index(block) + 1]
    assert "output" in shown.attributes
    command = block.text.replace(".venv/bin/authz", str(AUTHZ))
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    # The revision changes with every edit of the policies.
    assert re.sub(r"\b[0-9a-f]{32}\b", "…", done.stdout + done.stderr) == shown.text


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks_of(page) if "settings" in block.attributes], ids=str
)
def test_a_configuration_of_the_pages_is_good(block: Block, tmp_path: Path) -> None:
    """`authz validate` has nothing to say about it, with the policies of the project and a bundle beside it."""
    name = block.attributes["settings"]
    (tmp_path / name).write_text(block.text)
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "bundle.pem").write_text(create_ca("shop.example").bundle_pem)
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    command = [str(AUTHZ), "validate", "--config", name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
