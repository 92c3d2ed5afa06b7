"""The pipeline in examples/ci: what it calls is there, and it finds what is wrong with a change."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from authz_server.cli import app
from tests.programs import need
from tests.recorded import record_of, user

ROOT = Path(__file__).parents[2]
CI = ROOT / "examples" / "ci"
SCRIPT = CI / "check-policies.sh"
WORKFLOW: dict[str, Any] = yaml.load((CI / "github-actions.yaml").read_text(), yaml.BaseLoader)  # noqa: S506 - of texts
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["check"]["steps"]
ORDERS = Path("policies/shop/orders.yaml")
GIT = {f"GIT_{who}_{what}": "test@shop.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the shipped policies as its only commit."""
    for name in ("policies", "schema"):
        shutil.copytree(ROOT / name, tmp_path / "clone" / name)
    for command in ("init -q", "add .", "commit -q -m policies"):
        subprocess.run([need("git"), *command.split()], cwd=tmp_path / "clone", env=os.environ | GIT, check=True)
    return tmp_path / "clone"


def check(repository: Path, **variables: str) -> tuple[int, str, str]:
    """What the script makes of the policies there: exit code, log, report."""
    report = repository.parent / "report.md"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(repository.parent), "LANG": "C.UTF-8", "REPORT": str(report)}
    done = subprocess.run(
        ["sh", str(SCRIPT)], cwd=repository, env=environment | variables, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr, report.read_text()


def change(repository: Path, old: str, new: str) -> None:
    """Edit the policies of orders."""
    text = (repository / ORDERS).read_text()
    assert old in text
    (repository / ORDERS).write_text(text.replace(old, new))


def test_the_shipped_policies_are_good(repository: Path) -> None:
    """And decide nothing differently than themselves."""
    code, log, report = check(repository, BASE="HEAD")
    assert code == 0, log
    assert report.count("✅") == 3
    assert "no request is decided differently" in report


def test_a_change_is_shown_and_is_no_failure(repository: Path) -> None:
    """It is for people to judge, also what it would have done to requests on record."""
    change(
        repository, "  - id: customers-place-orders\n    effect: allow\n", "  - id: customers-buy\n    effect: allow\n"
    )
    tests = repository / "policies/shop/orders_test.yaml"
    tests.write_text(tests.read_text().replace("customers-place-orders", "customers-buy"))
    sent = {"service": "shop/orders", "user": user(), "inputs": {"user.scopes": ["orders:write"]}}
    audit = repository.parent / "decisions.jsonl"
    audit.write_bytes(
        record_of(method="POST", path="/orders", reason="allowed", would_deny=False, mode="enforce", **sent)
    )
    code, log, report = check(repository, BASE="HEAD", AUDIT=f"{audit} {audit}")
    assert code == 0, log
    assert "### What the policies decide differently about recorded requests" in report
    assert "2 records: 0 decided as before, 2 flip (0 closed, 0 opened, 2 other)" in report


def test_a_change_that_tests_notice_fails_and_is_compared_all_the_same(repository: Path) -> None:
    """So that the reviewer sees what it would do."""
    change(repository, 'scopes: ["orders:read"]', 'scopes: ["orders:raed"]')
    code, log, report = check(repository, BASE="HEAD")
    assert code == 1
    assert "❌ tests pass" in report
    for text in (log, report):
        assert "the scopes lack `orders:raed`" in text
    assert "| **ALLOW → DENY** |" in report


def test_broken_policies_fail_at_once(repository: Path) -> None:
    """With what is wrong in the log and in the report, once."""
    change(repository, "effect: allow", "effect: alow")
    code, log, report = check(repository, BASE="HEAD")
    assert code == 1
    assert report.count("❌") == 1
    for text in (log, report):
        assert text.count("policies/shop/orders.yaml:9:13") == 1


@pytest.mark.parametrize(("base", "said"), [("empty", "no policies at `empty`"), ("broken", "have errors")])
def test_without_a_good_base_there_is_no_comparison(repository: Path, base: str, said: str) -> None:
    """That is no failure of the change."""
    text = (repository / ORDERS).read_text()
    change(repository, "effect: allow", "effect: alow")
    for command in (
        "checkout -q --orphan empty",
        "commit -q --allow-empty -m empty -- schema",
        "checkout -q -b broken",
        "commit -q -a -m broken",
    ):
        subprocess.run([need("git"), *command.split()], cwd=repository, env=os.environ | GIT, check=True)
    (repository / ORDERS).write_text(text)
    code, log, report = check(repository, BASE=base)
    assert code == 0, log
    assert said in report


def test_a_base_that_is_not_there_is_a_failure(repository: Path) -> None:
    """A clone without history must not look like a change of nothing."""
    code, log, report = check(repository, BASE="nowhere")
    assert code == 1
    assert "There is no commit nowhere in this clone: fetch it" in log
    assert "❌ comparison with nowhere" in report


def test_records_that_are_none_are_a_failure(repository: Path) -> None:
    """A wrong address must not look like a good change."""
    (repository / "decisions.jsonl").write_text("<html>\n")
    code, _, report = check(repository, AUDIT="decisions.jsonl")
    assert code == 1
    assert "❌ replay of recorded decisions: it could not be done" in report


def test_github_gets_annotations(repository: Path) -> None:
    """Beside the lines of the change."""
    change(repository, 'scopes: ["orders:read"]', 'scopes: ["orders:raed"]')
    _, log, report = check(repository, GITHUB_ACTIONS="true")
    assert "::error file=policies/shop/orders_test.yaml" in log
    assert "::error" not in report


def test_the_script_calls_what_there_is() -> None:
    """Commands of authz, and their options."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    text = re.sub(r"\\\n\s*", " ", SCRIPT.read_text())
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    calls = [match for line in lines for match in re.findall(r"\bauthz ([a-z]+)(.*)", line)]
    assert {name for name, _ in calls} == {"validate", "lint", "test", "diff", "replay"}
    for name, arguments in calls:
        options = {option for each in commands[name].params for option in each.opts}
        wanted = set(re.findall(r"--[a-z-]+", arguments)) | ({"--github"} if "$annotations" in arguments else set())
        assert wanted <= options


def test_the_workflow_calls_the_script() -> None:
    """With variables that it reads, and may write nothing but the comment."""
    [step] = [step for step in STEPS if "POLICY_CHECK" in step.get("run", "")]
    assert (ROOT / WORKFLOW["env"]["POLICY_CHECK"]).samefile(SCRIPT)
    assert all(f"${{{name}:-" in SCRIPT.read_text() for name in step["env"])
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert "pull_request_target" not in WORKFLOW["on"]
    # What a pull request names is never part of a script: it comes by the environment.
    assert all("${{" not in step.get("run", "") for step in STEPS)


@pytest.mark.parametrize(("lines", "known"), [(3, ""), (5000, ""), (3, "17")])
def test_the_comment_fits_and_is_one(tmp_path: Path, lines: int, known: str) -> None:
    """One that is there is edited; what is cut is cut at a line."""
    [step] = [step for step in STEPS if "gh api" in step.get("run", "")]
    gh = tmp_path / "gh"
    gh.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\ncase "$*" in *--jq*) echo {known} ;; esac\n')
    gh.chmod(0o755)
    (tmp_path / "report.md").write_text("a line of the report ✅\n" * lines)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(tmp_path),
        "REPORT": str(tmp_path / "report.md"),
        "GITHUB_REPOSITORY": "shop/policies",
        "NUMBER": "7",
    }
    subprocess.run(["bash", "-e", "-c", step["run"]], env=environment, check=True)
    comment = (tmp_path / "comment.md").read_text()
    assert len(comment.encode()) < 65_536
    assert comment.startswith("<!-- authz policies -->\na line of the report ✅\n")
    assert ("… and more" in comment) is (lines == 5000)
    assert set(comment.splitlines()[1:-1]) == {"a line of the report ✅"}
    [_, call] = (tmp_path / "calls").read_text().splitlines()
    if known:
        assert call.startswith("api --method PATCH repos/shop/policies/issues/comments/17 -F body=@")
    else:
        assert call.startswith("api --method POST repos/shop/policies/issues/7/comments -F body=@")


@pytest.mark.parametrize("text", [SCRIPT.read_text(), *(step["run"] for step in STEPS if "run" in step)])
def test_every_script_parses(text: str) -> None:
    """By the shell that runs it."""
    subprocess.run(["bash", "-n", "-c", text], check=True)
    if text.startswith("#!"):
        subprocess.run(["sh", "-n", "-c", text], check=True)
