"""JSON Schema of models, with what the texts below their fields say."""

import ast
import inspect
from collections.abc import Mapping
from itertools import pairwise
from textwrap import dedent

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from authz_server.documents.model import Model


class DescribedJsonSchema(GenerateJsonSchema):
    """Reads the sources of models when a schema is made, and not whenever a process starts."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The schema of a model, each field with its description."""
        generated = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, Model):
            descriptions = field_descriptions(model)
            for name, field in generated.get("properties", {}).items():
                if name in descriptions:
                    # That of its type says less.
                    field["description"] = descriptions[name]
        return generated


def field_descriptions(model: type[Model]) -> Mapping[str, str]:
    """What the text below each field of a model says, by the field's name; those that it inherits too."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, Model) and one is not Model:
            found |= _own_descriptions(one)
    aliases = {name: field.alias for name, field in model.model_fields.items() if field.alias is not None}
    return {aliases.get(name, name): text for name, text in found.items()}


def _own_descriptions(model: type[Model]) -> dict[str, str]:
    [definition] = ast.parse(dedent(inspect.getsource(model))).body
    found = {}
    for field, text in pairwise(definition.body if isinstance(definition, ast.ClassDef) else ()):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = inspect.cleandoc(words)
    return found
