"""The commands in the documentation are run, here or by another test that is named here."""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from authz_server.control.endpoints import EndpointsFile
from authz_server.control.settings import load_settings
from authz_server.dev.ca import create_ca
from authz_server.dev.demo_setup import Demo
from authz_server.dev.demo_tries import Commands, tries
from authz_server.dev.layout import Files, Ports
from authz_server.worker.address import TcpAddress
from tests.docs.markdown import PAGES, ROOT, Block, blocks_of, code_spans

QUICK_START = ROOT / "docs" / "quick-start.md"
AUTHZ = Path(sys.executable).with_name("authz")
DEMO = Demo(Files(Path("run/demo")), Ports(), Path("policies"))
COMPOSE = ROOT / "deploy" / "docker-compose.yaml"
COMPOSE_UP = "docker compose -f deploy/docker-compose.yaml up"
RUN_ELSEWHERE = {
    "tail -n 1 run/demo/decisions.jsonl": "tests/envoy/test_demo.py::test_every_decision_is_on_record",
    "authz serve --config authz.yaml": "tests/unit/control/test_server.py::test_it_is_alive_and_ready",
    "authz validate --config authz.yaml": "tests/docs/test_commands.py::test_a_configuration_of_the_pages_is_good",
    "authz config show --config authz.yaml": "tests/unit/cli/test_config.py::test_what_is_shown_is_what_is_in_effect",
    "authz keys create --owner nightly-report --scope orders:read --network 10.1.0.0/16 --expires 30d": (
        "tests/unit/cli/test_keys.py::test_a_key_is_printed_once"
    ),
    "authz explain 019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d --config authz.yaml": (
        "tests/unit/cli/test_explain.py::test_a_denial_is_explained"
    ),
    "authz revisions --config authz.yaml": (
        "tests/unit/cli/test_revisions.py::test_revisions_are_listed_with_the_latest_first"
    ),
    "authz candidate resume --config authz.yaml": (
        "tests/unit/control/test_candidate_served.py::test_a_roll_out_that_denies_too_much_falls_back_and_stays_so"
    ),
    "authz rollback 15bee6dc --config authz.yaml": (
        "tests/unit/cli/test_revisions.py::test_a_rollback_says_how_to_undo_it"
    ),
    "BASE=origin/main AUDIT=decisions.jsonl REPORT=report.md sh examples/ci/check-policies.sh": (
        "tests/examples/test_ci.py::test_a_change_is_shown_and_is_no_failure"
    ),
    **dict.fromkeys(
        (
            "authz learn decisions.jsonl --service shop/orders",
            "authz validate learned",
            "authz lint learned",
            "authz test learned --coverage",
            "authz replay decisions.jsonl --policies learned",
        ),
        "tests/docs/test_learn.py::test_the_commands_of_the_page_work_in_their_order",
    ),
    **dict.fromkeys(
        (
            "authz bundle keys bundle.key bundle.pub",
            "authz bundle build policies --output policies.tar.gz --key bundle.key",
            "authz bundle verify policies.tar.gz --key bundle.pub --output unpacked",
        ),
        "tests/docs/test_policy_bundles.py::test_the_commands_of_the_page_work_in_their_order",
    ),
    "authz policy schema >schema/policy.schema.json": "tests/docs/test_editors.py::test_the_schema_is_printed",
    "authz config schema >schema/config.schema.json": "tests/unit/cli/test_config.py::test_the_schema_is_printed",
    **dict.fromkeys(
        (
            "authz policy new service policies/shop/orders.yaml",
            "authz policy new service policies/shop/orders.yaml --host orders.shop.example "
            '--workload "spiffe://shop.example/ns/front/sa/web" --method GET --path "/orders/{order_id}"',
            "authz policy new roles policies/shop/roles.yaml --role support --issuer corp --group support",
            "authz policy new guardrails policies/guardrails.yaml --method TRACE",
            "authz policy new namespace policies/shop/namespace.yaml "
            '--host "*.shop.example" --trust-domain shop.example',
            "authz policy new tests policies/shop/more_test.yaml --host orders.shop.example",
        ),
        "tests/docs/test_policy_writing.py::test_the_commands_that_start_files_write_what_the_page_shows",
    ),
    "authz policy fmt policies": "tests/unit/cli/test_policy_fmt.py::test_files_are_formatted",
    "authz policy fmt --check --diff policies": "tests/unit/cli/test_policy_fmt.py::test_a_check_writes_nothing",
    "authz policy fmt - <policies/web.yaml": (
        "tests/unit/cli/test_policy_fmt.py::test_standard_input_goes_to_standard_output"
    ),
    "pip install .": "tests/docs/test_commands.py::test_the_clone_can_be_installed",
    "docker build -f deploy/Dockerfile -t authz-server .": (
        "tests/compose/test_compose.py::test_a_request_through_envoy_is_answered_and_recorded_once"
    ),
    COMPOSE_UP: "tests/compose/test_compose.py::test_a_request_through_envoy_is_answered_and_recorded_once",
}
"""Command -> the test that runs it, or does what it does."""
OF_OTHER_TESTS = {"run", "own", "compose", "tests", "candidate", "sources", "guide"}
"""Attributes of blocks that are run below, or by tests/docs/test_policy_tests.py, test_candidates.py and
test_policy_sources.py there, and by tests/envoy/test_guided_run.py."""
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
    if OF_OTHER_TESTS & block.attributes.keys() or block.text.strip() in _demo_commands():
        return
    commands = [command for command in _commands_of(block) if not command.startswith("make ")]
    assert [command for command in commands if command not in RUN_ELSEWHERE] == []


def test_the_commands_for_containers_are_those_of_the_compose_file() -> None:
    """The tests of the compose file ask in the same way: identities and a token from the container that makes them."""
    [block] = [block for block in SHELL_BLOCKS if "compose" in block.attributes]
    comment = "\n".join(line.removeprefix("#").strip() for line in COMPOSE.read_text().splitlines())
    assert [line for line in block.text.splitlines() if line.strip() not in comment.splitlines()] == []
    assert subprocess.run(["bash", "-n", "-c", block.text], check=False).returncode == 0


@pytest.mark.parametrize("block", [block for block in SHELL_BLOCKS if "own" in block.attributes], ids=str)
def test_a_server_of_ones_own_gets_its_identities(block: Block, tmp_path: Path) -> None:
    """The commands run in a directory that has the page's configuration and policies; Envoy accepts what they write."""
    name = block.attributes["own"]
    [settings] = [each for each in blocks_of(ROOT / block.page) if each.attributes.get("settings") == name]
    (tmp_path / name).write_text(settings.text)
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    path = f"{AUTHZ.parent}{os.pathsep}{os.environ['PATH']}"
    run = functools.partial(
        subprocess.run, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    done = run(["bash", "-e", "-c", block.text])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not checked" not in done.stdout
    written = {str(file.relative_to(tmp_path)) for file in (tmp_path / "certs").rglob("*") if file.is_file()}
    callers = {"ca.pem", "ca.key", "web.pem", "web.key", "issuer.key", "jwks.json"}
    assert written == {f"certs/{file}" for file in callers | {"envoy/certificate.yaml", "envoy/bundles.yaml"}}
    if shutil.which("envoy", path=path) is None:
        pytest.skip("needs Envoy, which `make install` brings on Linux")
    # The server writes it, and is started first.
    settings_of = load_settings(tmp_path / name, {}).settings
    assert settings_of is not None
    EndpointsFile(settings_of.listen.endpoints_file).write({0: TcpAddress("127.0.0.1", 9001)})
    accepted = run(["envoy", "--mode", "validate", "-c", "envoy.yaml"])
    assert accepted.returncode == 0, accepted.stderr


def test_the_clone_can_be_installed(tmp_path: Path) -> None:
    """Its wheel has the command; the packages that it needs are those of this environment."""
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("needs pip")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(tmp_path)]
    subprocess.run([*pip, "install", *options, str(ROOT)], check=True, timeout=120)
    command = [str(tmp_path / "bin" / "authz"), "--version"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


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


def _settings_without_commands() -> list[Block]:
    """Those with commands beside them are validated by these."""
    own = {block.attributes.get("own") for block in SHELL_BLOCKS}
    blocks = [block for page in PAGES for block in blocks_of(page) if "settings" in block.attributes]
    return [block for block in blocks if block.attributes["settings"] not in own]


@pytest.mark.parametrize("block", _settings_without_commands(), ids=str)
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
