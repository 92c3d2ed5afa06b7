"""`authz policy fmt`."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app, written
from tests.builders import write_policies

UNFORMATTED = """\
    name: orders   # a comment
    kind: service
    hosts: ["orders.shop.example"]
    rules: []
"""
FORMATTED = "kind: service\nname: orders  # a comment\nhosts: [orders.shop.example]\n\nrules: []\n"
BROKEN = "kind: servce\n"


@pytest.fixture(autouse=True)
def _policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)
    write_policies(Path("policies"), {"shop/orders.yaml": UNFORMATTED, "good.yaml": FORMATTED})


ORDERS = Path("policies/shop/orders.yaml")


def fmt(*arguments: str, stdin: str | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["policy", "fmt", *arguments], input=stdin)


@pytest.mark.parametrize("paths", [[], ["policies"], ["policies/shop/orders.yaml"], ["policies", "policies/good.yaml"]])
def test_files_are_formatted(paths: list[str]) -> None:
    """Those that are named, below a directory, or of the configuration; the second time there is nothing to do."""
    result = fmt(*paths)
    assert result.exit_code == 0
    assert ORDERS.read_text() == FORMATTED
    assert "policies/shop/orders.yaml\n1 file formatted, " in result.stderr
    assert fmt(*paths).stderr.startswith("0 files formatted, ")


def test_mode_and_links_stay_and_no_draft_is_left() -> None:
    """The file is replaced at once."""
    real = ORDERS.with_name("real.yaml")
    ORDERS.rename(real)
    ORDERS.symlink_to("real.yaml")
    real.chmod(0o640)
    assert fmt(str(ORDERS)).exit_code == 0
    assert ORDERS.is_symlink()
    assert real.read_text() == FORMATTED
    assert real.stat().st_mode & 0o777 == 0o640
    assert {path.name for path in ORDERS.parent.iterdir()} == {"orders.yaml", "real.yaml"}


def test_a_check_writes_nothing() -> None:
    """Exit code 1 and the names, with --diff what would change; 0 when all is formatted."""
    before = ORDERS.read_text()
    result = fmt("--check", "policies")
    assert result.exit_code == 1
    assert result.stderr == "policies/shop/orders.yaml\n1 file would be formatted, 1 left as they are\n"
    assert result.stdout == ""
    shown = fmt("--check", "--diff", "policies")
    assert shown.exit_code == 1
    assert "--- policies/shop/orders.yaml\n" in shown.stdout
    assert "-name: orders   # a comment\n" in shown.stdout
    assert "+name: orders  # a comment\n" in shown.stdout
    assert fmt("--diff", "policies").exit_code == 0
    assert ORDERS.read_text() == before
    assert fmt("--check", "policies/good.yaml").exit_code == 0


def test_files_with_errors_are_left_alone() -> None:
    """Their errors are shown, and the others formatted all the same."""
    write_policies(Path("policies"), {"bad.yaml": BROKEN})
    result = fmt("policies")
    assert result.exit_code == 1
    assert "policies/bad.yaml:1:7: unknown kind `servce`" in result.stderr
    assert Path("policies/bad.yaml").read_text() == BROKEN
    assert ORDERS.read_text() == FORMATTED


def test_what_cannot_be_read_is_an_error() -> None:
    """Such as a link that leads round in a circle."""
    Path("policies/loop.yaml").symlink_to("loop.yaml")
    result = fmt("policies/loop.yaml")
    assert result.exit_code == 1
    assert "policies/loop.yaml:1:1: the file cannot be read: Too many levels of symbolic links" in result.stderr


def test_what_is_not_there_is_wrong_usage() -> None:
    """Nothing is written then, not even what was named before it."""
    result = fmt("policies", "policies/none.yaml")
    assert result.exit_code == 2
    assert "there is no file or directory policies/none.yaml" in result.stderr
    assert ORDERS.read_text() != FORMATTED


def test_a_file_that_somebody_writes_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an editor saved a moment ago is not lost."""
    replace = written.replace

    def slow(path: Path, before: bytes, content: bytes) -> None:
        ORDERS.write_text("kind: service\n")
        replace(path, before, content)

    monkeypatch.setattr(written, "replace", slow)
    result = fmt("policies")
    assert result.exit_code == 1
    assert "the file changed meanwhile; run the command again" in result.stderr
    assert result.stderr.endswith("\n0 files formatted, 2 left as they are\n")
    assert ORDERS.read_text() == "kind: service\n"


@pytest.mark.parametrize("may", [True, False])
def test_the_owner_stays_where_that_may_be_said(may: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root formats what a server reads; others format their own."""
    owners: list[tuple[int, int]] = []

    def fchown(_: int, user: int, group: int) -> None:
        owners.append((user, group))
        if not may:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", fchown)
    ORDERS.chmod(0o600)
    assert fmt("policies").exit_code == 0
    info = ORDERS.stat()
    assert owners == [(info.st_uid, info.st_gid)]
    assert (info.st_mode & 0o777, ORDERS.read_text()) == (0o600, FORMATTED)


def test_a_file_that_may_not_be_written_is_not_said_to_be_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are; and whose it is to do is told."""
    Path("policies/other.yaml").write_text(UNFORMATTED.replace("orders", "other"))
    replace = written.replace

    def refuse(path: Path, before: bytes, content: bytes) -> None:
        if path == ORDERS:
            raise PermissionError(13, "Permission denied", str(path))
        replace(path, before, content)

    monkeypatch.setattr(written, "replace", refuse)
    result = fmt("policies")
    assert result.exit_code == 1
    assert result.stderr == (
        "policies/shop/orders.yaml:1:1: the file cannot be written: Permission denied\n"
        "    run this as the user that it belongs to\n"
        "policies/other.yaml\n1 file formatted, 2 left as they are\n"
    )


def test_standard_input_goes_to_standard_output() -> None:
    """For editors; of files with errors nothing is written."""
    text = ORDERS.read_text()
    assert fmt("-", stdin=text).stdout == FORMATTED
    assert fmt("-", "--check", stdin=text).exit_code == 1
    assert fmt("-", "--check", stdin=FORMATTED).exit_code == 0
    assert "--- <stdin>\n" in fmt("-", "--diff", stdin=text).stdout
    tests = "kind: tests\n\nmatrix:\n  callers: [anonymous]\n  requests:\n    a: GET /\n"
    assert fmt("-", stdin=tests).stdout == tests
    broken = fmt("-", stdin=BROKEN)
    assert (broken.exit_code, broken.stdout) == (1, "")
    assert "unknown kind" in broken.stderr
    assert fmt("-", "policies").exit_code == 2
