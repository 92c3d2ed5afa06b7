"""The JSON Schema of policy documents."""

import json
from pathlib import Path

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
    assert all(definition["additionalProperties"] is False for definition in definitions.values())


def test_the_schema_admits_no_empty_values() -> None:
    """A field that may be absent cannot be null, as for the loader."""
    assert '"null"' not in json.dumps(policy_schema())


def test_the_schema_describes_what_editors_show() -> None:
    """Every document, and the fields that need words."""
    definitions = policy_schema()["$defs"]
    assert all(definition.get("description") for definition in definitions.values())
    assert definitions["Rule"]["properties"]["from"]["description"].startswith("Who calls")
