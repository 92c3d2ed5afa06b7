"""The JSON Schema of policy documents, with which editors complete and check them."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from authz_server.documents.described import DescribedJsonSchema
from authz_server.policy.conditions.variables import as_markdown, in_a_line
from authz_server.policy.schema import PolicyDocument

_EXPRESSION = "cel"
"""The format of expressions, as their type has it."""


class _WithoutNull(DescribedJsonSchema):
    """A field that may be absent must not be empty all the same."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        # Most defaults (null, an empty list) say that the field is absent, which nobody can write.
        generated = super().default_schema(schema)
        if not generated.get("default"):
            generated.pop("default", None)
        return generated


def policy_schema() -> dict[str, Any]:
    """The schema (draft 2020-12): one of the kinds of document, told apart by `kind`."""
    union = TypeAdapter[PolicyDocument](Annotated[PolicyDocument, Field(discriminator="kind")])
    schema = union.json_schema(schema_generator=_WithoutNull)
    for definition in schema["$defs"].values():
        for field in definition.get("properties", {}).values():
            _describe_expressions(field)
    schema["$defs"]["Expression"] = {
        "type": "string",
        "minLength": 1,
        "description": f"A CEL expression. {in_a_line()}",
        "markdownDescription": f"A CEL expression. {as_markdown()}",
    }
    return {"$schema": _WithoutNull.schema_dialect, "title": "authz-server policy document", **schema}


def _describe_expressions(field: dict[str, Any]) -> None:
    """Say of a field that may be an expression what that can read; those below it refer to one description."""
    parts = [field, *field.get("anyOf", ())]
    if any(part.get("format") == _EXPRESSION for part in parts):
        field["markdownDescription"] = f"{field['description']} {as_markdown()}"
        field["description"] = f"{field['description']} {in_a_line()}"
    field.pop("format", None)
    for part in _below(field):
        if part.get("format") == _EXPRESSION:
            part.clear()
            part["$ref"] = "#/$defs/Expression"


def _below(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for below in (*part.get("anyOf", ()), part.get("items"), part.get("additionalProperties")):
        if isinstance(below, dict):
            yield below
            yield from _below(below)
