"""`authz keys`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("authz.yaml").write_text("api_keys: {file: keys.yaml}\n")


def run(*arguments: str) -> Result:
    """Run `authz keys`."""
    return CliRunner().invoke(app, ["keys", *arguments])


def listed() -> list[dict[str, object]]:
    """What `list` says."""
    keys: list[dict[str, object]] = json.loads(run("list", "--json").stdout)["keys"]
    return keys


def test_a_key_is_printed_once() -> None:
    """On standard output, and nothing else there, so that it can go into a secret store."""
    result = run(
        *("create", "--owner", "nightly-report", "--scope", "orders:read"),
        *("--network", "10.1.0.0/16", "--expires", "30d"),
    )
    assert result.exit_code == 0, result.output
    [text] = result.stdout.splitlines()
    assert text.startswith("azk_")
    [key] = listed()
    assert (key["owner"], key["state"], key["scopes"]) == ("nightly-report", "good", ["orders:read"])
    assert key["networks"] == ["10.1.0.0/16"]
    secret = text.split("_", 2)[2]
    assert secret not in run("list").output + run("list", "--json").output + Path("keys.yaml").read_text()


def test_a_table_shows_the_keys() -> None:
    """What matters of each, in a line."""
    assert "authz keys create" in run("list").stderr
    run("create", "--owner", "nightly")
    head, row = run("list").stdout.splitlines()
    assert head.split() == ["ID", "OWNER", "STATE", "EXPIRES", "SCOPES", "NETWORKS"]
    assert row.split()[1:3] == ["nightly", "good"]
    assert row.endswith("anywhere")


def test_rotation_and_revocation() -> None:
    """By the id, which stays."""
    made = json.loads(run("create", "--owner", "nightly", "--json").stdout)
    rotated = json.loads(run("rotate", made["id"], "--overlap", "1h", "--json").stdout)
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert rotated["secret_before_until"] is not None
    assert run("revoke", made["id"]).exit_code == 0
    assert [key["state"] for key in listed()] == ["revoked"]
    result = run("rotate", made["id"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is revoked" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "--owner", ""), "--owner"),
        (("create", "--owner", "x", "--scope", 'a"b'), '`a"b` is no scope'),
        (("create", "--owner", "x", "--scope", "a b"), "`a b` would be one scope; write `--scope a --scope b`"),
        (("create", "--owner", "x", "--scope", "a,b"), "`a,b` would be one scope; write `--scope a --scope b`"),
        (("create", "--owner", "x", "--network", "10.0.0.1/8"), "10.0.0.0/8"),
        (("create", "--owner", "x", "--expires", "400d"), "a year at most"),
        (("create", "--owner", "x", "--expires", "0s"), "a year at most"),
        (("create", "--owner", "x", "--expires", "soon"), "whole number with its unit"),
        (("rotate", "a" * 12, "--overlap", "-1s"), "whole number with its unit"),
    ],
)
def test_wrong_usage_is_explained(arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, and nothing is written."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not Path("keys.yaml").exists()


def test_what_cannot_be_done_is_explained() -> None:
    """Exit code 1: an unknown id, a file that is bad, a directory that is not there."""
    result = run("revoke", "a" * 12)
    assert (result.exit_code, "authz keys list" in result.stderr) == (1, True)
    Path("keys.yaml").write_text("keys: {x: {}}")
    result = run("create", "--owner", "x")
    assert result.exit_code == 1
    assert "keys.yaml:1:8: `x` is no id of a key" in result.stderr
    result = run("create", "--owner", "x", "--file", "nowhere/keys.yaml")
    assert (result.exit_code, "nowhere: No such file" in result.stderr) == (1, True)


def test_without_a_file_nothing_is_guessed() -> None:
    """The configuration or an option says which it is."""
    Path("authz.yaml").write_text("{}")
    result = run("list")
    assert result.exit_code == 2
    assert "--file" in result.stderr
