"""The JSON Schema of policy documents."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from authz_server.policy.conditions.variables import as_markdown
from authz_server.policy.json_schema import policy_schema
from authz_server.policy.schema import KINDS

ROOT = Path(__file__).parents[3]


def test_the_schema_file_is_current() -> None:
    """`python tools/generate_schema.py` writes it."""
    assert json.loads((ROOT / "schema" / "policy.schema.json").read_text()) == policy_schema()


def test_the_schema_tells_documents_apart_by_kind() -> None:
    """Each kind of document is one of the alternatives, and closed."""
    schema = policy_schema()
    definitions = schema["$defs"]
    assert set(schema["discriminator"]["mapping"]) == set(KINDS)
    assert len(schema["oneOf"]) == len(KINDS)
    assert all(
        definition["additionalProperties"] is False for definition in definitions.values() if "properties" in definition
    )


def test_the_schema_admits_no_empty_values() -> None:
    """A field that may be absent cannot be null, as for the loader."""
    assert '"null"' not in json.dumps(policy_schema())


def test_the_schema_describes_everything() -> None:
    """Every document, and every field."""
    definitions = policy_schema()["$defs"]
    assert [name for name, definition in definitions.items() if not definition.get("description")] == []
    silent = [
        f"{name}.{field}"
        for name, definition in definitions.items()
        for field, schema in definition.get("properties", {}).items()
        if not schema.get("description")
    ]
    assert silent == []
    assert definitions["Rule"]["properties"]["from"]["description"].startswith("Who calls")


def _expressions(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict):
        if schema.get("$ref") == "#/$defs/Expression":
            yield schema
        schema = list(schema.values())
    for below in schema if isinstance(schema, list) else ():
        yield from _expressions(below)


def test_what_conditions_see_is_shown_where_they_are_written() -> None:
    """In the description of `when`, and of each part of an answer that is computed."""
    definitions = policy_schema()["$defs"]
    assert as_markdown() in definitions["Expression"]["markdownDescription"]
    for name, field in [("Rule", "when"), ("Guardrail", "when"), ("Answer", "body"), ("Answer", "hint")]:
        described = definitions[name]["properties"][field]
        assert as_markdown() in described["markdownDescription"]
        assert "request.method, " in described["description"]
    for field in ("set_headers", "set_query", "response_headers", "metadata", "headers"):
        assert list(_expressions(definitions["Answer"]["properties"][field])) != []
    assert '"cel"' not in json.dumps(definitions)


def test_editors_propose_methods_and_take_others() -> None:
    """As some proxies and clients have methods of their own."""
    method = policy_schema()["$defs"]["Operation"]["properties"]["methods"]["items"]
    proposed, pattern = method["anyOf"]
    assert set(proposed["enum"]) >= {"GET", "HEAD", "POST", "DELETE"}
    assert re.match(pattern["pattern"], "PURGE")
    assert not re.match(pattern["pattern"], "get")
