"""`authz doctor` on files: what it prints, and its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz_server.cli import app
from tests.builders import write_policies
from tests.docs.markdown import ROOT

POLICY = """
    kind: service
    name: everything
    hosts: ["*"]
    rules: []
"""
GOOD = (ROOT / "deploy/envoy.yaml").read_text()


@pytest.fixture(name="run")
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    write_policies(tmp_path / "policies", {"everything.yaml": POLICY})
    monkeypatch.chdir(tmp_path)

    def run(text: str, *options: str) -> tuple[int, str]:
        (tmp_path / "envoy.yaml").write_text(text)
        result = CliRunner().invoke(app, ["doctor", "envoy.yaml", *options])
        return result.exit_code, result.output

    return run


def test_a_good_configuration_has_no_findings(run: Callable[..., tuple[int, str]]) -> None:
    """The one that is shipped."""
    assert run(GOOD) == (0, "1 HTTP connection manager: nothing found\n")


def test_findings_say_where_what_and_how_to_mend(run: Callable[..., tuple[int, str]]) -> None:
    """For people as text."""
    code, output = run(GOOD.replace("failure_mode_allow: false", "failure_mode_allow: true"))
    line = 1 + GOOD[: GOOD.index("failure_mode_allow")].count("\n")
    assert code == 1
    assert output.startswith(
        f"envoy.yaml:{line}:35: danger: when our answer does not come, Envoy lets the request pass"
    )
    assert "    write\n        failure_mode_allow: false\n" in output
    assert "1 finding\n" in output


def test_findings_as_json(run: Callable[..., tuple[int, str]]) -> None:
    """For machines."""
    code, output = run(GOOD.replace("failure_mode_allow: false", "failure_mode_allow: true"), "--json")
    found = json.loads(output)
    assert code == 1
    assert [(one["code"], one["severity"]) for one in found["findings"]] == [("failure_mode_allow", "danger")]
    assert found["not_seen"] == []


def test_a_configuration_without_http_is_not_called_good(run: Callable[..., tuple[int, str]]) -> None:
    """It may be the wrong file."""
    code, output = run("static_resources: {}")
    assert code == 1
    assert "no HTTP connection manager" in output


@pytest.mark.parametrize("text", ["", "a: [", "\t"])
def test_what_cannot_be_read_is_wrong_usage(run: Callable[..., tuple[int, str]], text: str) -> None:
    """With its place."""
    code, output = run(text)
    assert code == 2
    assert "envoy.yaml" in output


@pytest.mark.parametrize(
    "arguments",
    [[], ["a.yaml", "--envoy", "127.0.0.1:1"], ["none.yaml"], ["--envoy", "127.0.0.1:1"], ["--envoy", "192.0.2.1:1"]],
)
def test_nothing_to_look_at_is_wrong_usage(run: Callable[..., tuple[int, str]], arguments: list[str]) -> None:
    """Neither or both, a file that is not there, an Envoy that does not answer, one on another machine."""
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == 2


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "[::1]", "127.0.0.1:"])
def test_a_port_that_is_missing_is_told(run: Callable[..., tuple[int, str]], address: str) -> None:
    """Port 80 was not meant."""
    result = CliRunner().invoke(app, ["doctor", "--envoy", address])
    assert result.exit_code == 2
    assert f"--envoy: {address}: a port is missing; write `host:port`, such as 127.0.0.1:10001" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "option"), [(["--envoy", "127.0.0.1"], "--envoy"), (["none.yaml"], "FILE")], ids=["address", "file"]
)
def test_what_cannot_be_looked_at_is_told_before_missing_policies(
    arguments: list[str], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong address is wrong whatever the policies are."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == 2
    assert f"Invalid value for {option}: " in result.stderr
    write_policies(tmp_path / "policies", {"broken.yaml": "kind: nothing"})
    assert CliRunner().invoke(app, ["doctor", *arguments]).exit_code == 2
