"""`authz config`."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from authz_server.cli import app
from authz_server.control.settings import load_settings
from authz_server.control.settings.reference import json_schema


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)


def config(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["config", *arguments])


def test_what_is_shown_is_what_is_in_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, the environment over it, and defaults."""
    Path("authz.yaml").write_text("policies: {rescan: 250ms}\n")
    monkeypatch.setenv("AUTHZ_WORKERS", "3")
    shown = yaml.safe_load(config("show").stdout)
    assert (shown["policies"]["rescan"], shown["workers"], shown["log"]["level"]) == ("250ms", 3, "info")
    assert json.loads(config("show", "--json").stdout) == shown


def test_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    """And means the same, wherever it lies."""
    issuer = "{issuer: 'https://login.example/', audiences: [shop], keys: {file: jwks.json}, max_lifetime: 1h}"
    text = (
        f"listen: 'unix:run/check-{{worker}}.sock'\nissuers: {{corp: {issuer}}}\naudit: {{file: {{rotate: 16MiB}}}}\n"
    )
    Path("authz.yaml").write_text(text)
    again = tmp_path / "elsewhere.yaml"
    again.write_text(config("show").stdout)
    before, after = load_settings(Path("authz.yaml"), {}), load_settings(again, {})
    assert after.problems == []
    assert after.settings == before.settings


def test_a_bad_configuration_is_explained() -> None:
    """Exit code 1."""
    Path("authz.yaml").write_text("workers: many\n")
    result = config("show")
    assert result.exit_code == 1
    assert "authz.yaml:1:10: " in result.stderr


def test_the_schema_is_printed() -> None:
    """The one that the repository has."""
    assert config("schema").stdout == json_schema()
