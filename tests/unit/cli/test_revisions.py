"""`authz revisions` and `authz rollback`."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from authz_server.control.kept_policies import Size
from authz_server.control.revisions import Revisions
from authz_server.policy.files import read_directory, revision
from tests.builders import write_policies
from tests.unit.control.server_process import POLICY


def run(*arguments: str) -> Result:
    """Run the command in this directory, with its defaults."""
    return CliRunner().invoke(app, list(arguments))


class Scene:
    """Two revisions that a server has kept; the later one is in the directory."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "policies" / "orders.yaml"
        self.store = Revisions(directory / "run" / "revisions", self.file.parent, 9, 1 << 20)
        self.first, self.second = [self.edit(text) for text in (POLICY, POLICY.replace("GET", "PUT"))]

    def edit(self, text: str, *, activate: bool = True) -> str:
        """Write the policies, which a server activates."""
        write_policies(self.file.parent, {self.file.name: text})
        files = read_directory(self.file.parent)[0]
        if activate:
            self.store.write(files, 1772442000.0, Size(1, 2))
        return revision(files)


@pytest.fixture(name="scene")
def _scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """And there we are."""
    monkeypatch.chdir(tmp_path)
    return Scene(tmp_path)


def test_revisions_are_listed_with_the_latest_first(scene: Scene) -> None:
    """And which of them the directory holds."""
    result = run("revisions")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.splitlines() == [
        f"{scene.second}  2026-03-02T09:00:00Z  1 service, 2 rules  in the directory",
        f"{scene.first}  2026-03-02T09:00:00Z  1 service, 2 rules",
    ]
    listed = json.loads(run("revisions", "--json").stdout)
    assert listed["problems"] == []
    assert listed["revisions"][1] == {
        "revision": scene.first,
        "activated": "2026-03-02T09:00:00Z",
        "services": 1,
        "rules": 2,
        "files": 1,
        "in_directory": False,
    }


def test_an_edit_that_is_not_kept_is_told(scene: Scene) -> None:
    """Such as one that no server has taken yet."""
    edited = scene.edit("kind: half", activate=False)
    assert run("revisions").stdout.splitlines()[-1].endswith(f"holds {edited}, which is not kept")


def test_a_revision_that_is_damaged_is_told(scene: Scene) -> None:
    """Exit code 1; the others are listed."""
    (scene.store.directory / scene.first).write_bytes(b"")
    result = run("revisions")
    assert result.exit_code == 1
    assert result.stdout.count("\n") == 1
    assert f"authz: the revision {scene.first} cannot be used" in result.stderr


def test_a_rollback_says_how_to_undo_it(scene: Scene) -> None:
    """And doing so brings everything back."""
    result = run("rollback", scene.first[:8])
    assert result.exit_code == 0, result.stdout
    assert result.stdout.splitlines()[1:] == ["  written  orders.yaml", f"undo it with: authz rollback {scene.second}"]
    assert "GET" in scene.file.read_text()
    undone = run("rollback", scene.second, "--json")
    assert json.loads(undone.stdout) == {
        "revision": scene.second,
        "before": scene.first,
        "written": ["orders.yaml"],
        "removed": [],
        "before_is_good": True,
    }
    assert run("rollback", scene.second).stdout.endswith(f"holds the revision {scene.second} already\n")


def test_a_broken_edit_is_kept_and_cannot_come_back(scene: Scene) -> None:
    """No undo is offered that would be refused."""
    broken = scene.edit("kind: service\n", activate=False)
    result = run("rollback", scene.first, "--force")
    assert result.exit_code == 0
    assert "undo it" not in result.stdout
    assert f"what was there, {broken}, is kept, but has errors: no rollback puts it back as it is" in result.stdout
    assert run("rollback", broken).exit_code == 1


@pytest.mark.parametrize("command", ["revisions", "rollback 0123abcd", "explain 019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d"])
def test_that_defaults_are_looked_at_is_said(scene: Scene, command: str) -> None:
    """Where no configuration is named, and none is here: the server may have another run directory."""
    said = "authz: no authz.yaml here and no --config: this looks at defaults, below run\n"
    assert run(*command.split()).stderr.startswith(said)
    Path("authz.yaml").write_text("workers: 1\n")
    assert said not in run(*command.split()).stderr


def test_an_edit_that_never_decided_needs_force(scene: Scene) -> None:
    """Then it is a revision that never decided."""
    edited = scene.edit("kind: half", activate=False)
    refused = run("rollback", scene.first)
    assert refused.exit_code == 1
    assert "authz: the directory has changes" in refused.stderr
    assert "--force" in refused.stderr
    assert run("rollback", scene.first, "--force").exit_code == 0
    assert f"{edited}  " in run("revisions").stdout
    assert "never decided" in run("revisions").stdout


def test_a_refusal_is_told_as_json(scene: Scene) -> None:
    """As `authz candidate promote` does: code, message, what to do, and problems of policies."""

    def refused(revision: str) -> dict[str, Any]:
        result = run("rollback", revision, "--json")
        assert result.exit_code == 1
        [told] = json.loads(result.stdout)["refused"]
        assert set(told) == {"code", "message", "to_do", "problems"}
        found: dict[str, Any] = told
        return found

    assert refused("0" * 32)["code"] == "no_such_revision"
    scene.edit("kind: half", activate=False)
    changed = refused(scene.first)
    assert (changed["code"], changed["problems"]) == ("not_replaced", [])
    assert "--force" in changed["to_do"]
    bad = scene.edit("kind: servce\n")
    scene.edit(POLICY)
    assert "unknown kind `servce`" in refused(bad)["problems"][0]


def test_a_revision_that_is_not_kept_cannot_be_put_back(scene: Scene) -> None:
    """Nor can what is none."""
    assert "no revision that begins with" in run("rollback", "0" * 32).stderr
    assert "is no revision" in run("rollback", "HEAD").stderr
    assert run("rollback", "HEAD").exit_code == 1
    assert scene.file.exists()


def test_a_revision_that_this_version_refuses_is_not_put_back(scene: Scene) -> None:
    """With its problems."""
    bad = scene.edit("kind: servce\n")
    scene.edit(POLICY)
    result = run("rollback", bad)
    assert result.exit_code == 1
    assert "orders.yaml:1:7" in result.stderr
    assert "does not fit this configuration or version any more" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["revisions"],
        ["rollback", "3f6c"],
        ["explain", "019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d"],
        ["candidate", "report"],
        ["candidate", "promote"],
        ["candidate", "resume"],
        ["usage"],
    ],
    ids=" ".join,
)
def test_a_configuration_with_errors_is_wrong_usage(scene: Scene, command: list[str]) -> None:
    """Of each command that looks at what a server has left behind: nothing can be said of it."""
    Path("authz.yaml").write_text("worker: 3\n")
    result = run(*command)
    assert result.exit_code == 2
    assert "authz.yaml:1:1" in result.stderr
    assert revision(read_directory(scene.file.parent)[0]) == scene.second
