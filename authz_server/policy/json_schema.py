"""The JSON Schema of policy documents, with which editors complete and check them."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from authz_server.policy.schema import PolicyDocument


class _WithoutNull(GenerateJsonSchema):
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
    return {"$schema": _WithoutNull.schema_dialect, "title": "authz-server policy document", **schema}
