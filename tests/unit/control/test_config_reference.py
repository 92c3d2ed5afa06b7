"""What is made of the settings' models."""

import json

import pytest

from authz_server.control.settings.reference import json_schema, table
from tools.generate_config_docs import PAGE, SCHEMA, page


def test_the_schema_in_the_repository_is_current() -> None:
    """Run `make schema` where it is not."""
    assert SCHEMA.read_text(encoding="utf-8") == json_schema()


def test_the_reference_page_is_current() -> None:
    """Run `make schema` where it is not."""
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text


def test_a_page_without_its_marks_is_refused() -> None:
    """Nothing is written over a page that somebody has rearranged."""
    with pytest.raises(ValueError, match="marks"):
        page("# Configuration\n")


def test_the_schema_is_closed() -> None:
    """No section takes keys that it does not know."""
    schema = json.loads(json_schema())
    assert schema["additionalProperties"] is False
    assert all(section["additionalProperties"] is False for section in schema["$defs"].values())


def test_every_key_is_explained() -> None:
    """A key without a meaning in the table is one whose name says it all, and these are known."""
    rows = [line.split(" | ") for line in table().splitlines()[2:]]
    unexplained = {row[0].strip("| `") for row in rows if not row[3].strip(" |")}
    assert unexplained == {
        "issuers.*.claims.scopes",
        "issuers.*.claims.roles",
        "issuers.*.claims.groups",
        "audit.file.path",
        "log.level",
    }
