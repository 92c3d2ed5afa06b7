"""The page about editors says what holds."""

import json
from pathlib import Path

from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.policy.files import policy_file
from authz_server.policy.formatting import format_policy
from authz_server.policy.json_schema import policy_schema
from authz_server.policy.starters import schema_beside
from tests.docs.markdown import ROOT, blocks_of

PAGE = ROOT / "docs" / "editors.md"


def test_the_schema_is_printed() -> None:
    """`authz policy schema` prints what is in the repository."""
    printed = CliRunner().invoke(app, ["policy", "schema"])
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == policy_schema()


def test_the_settings_name_files_that_are_there() -> None:
    """As seen from the root of the project."""
    [settings] = [json.loads(block.text) for block in blocks_of(PAGE) if "editor" in block.attributes]
    schemas = settings["yaml.schemas"]
    assert [name for name in schemas if not (ROOT / name).exists()] == []
    [neovim] = [block.text for block in blocks_of(PAGE) if block.language == "lua"]
    assert all(f'["{name}"] = "{files}"' in neovim for name, files in schemas.items())


def test_the_first_line_names_the_schema_from_the_file() -> None:
    """And the file is a formatted policy."""
    [block] = [block for block in blocks_of(PAGE) if block.language == "yaml"]
    path = Path(block.attributes["file"])
    assert format_policy(policy_file(Path(), str(path), block.text.encode())).decode() == block.text
    schema = schema_beside((ROOT / path).parent)
    assert block.text.startswith(f"# yaml-language-server: $schema={schema}\n")
    assert (ROOT / path.parent / schema).resolve() == ROOT / "schema" / "policy.schema.json"
