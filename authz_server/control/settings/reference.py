"""The reference of the configuration, made of the models: JSON Schema for editors, a table for people."""

import json
from collections.abc import Iterator
from typing import Any

from authz_server.control.settings.root import Settings
from authz_server.documents.described import DescribedJsonSchema

JsonSchema = dict[str, Any]


class _Generator(DescribedJsonSchema):
    """Without titles: the names of the keys say it all."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - the type is pydantic's own affair
        return False


def json_schema() -> str:
    """The JSON Schema of the configuration."""
    return json.dumps(_schema(), indent=2) + "\n"


def table() -> str:
    """A Markdown table of every key with its type, default and meaning."""
    schema = _schema()
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in _rows(schema, schema, "")]
    return "\n".join(lines) + "\n"


def _schema() -> JsonSchema:
    schema = Settings.model_json_schema(schema_generator=_Generator)
    # Validators take the short forms, which pydantic cannot know.
    listen, sections = schema["properties"]["listen"], schema["$defs"]
    address = sections["ListenSettings"]["properties"]["address"]
    schema["properties"]["listen"] = {"anyOf": [{"$ref": listen.pop("$ref")}, address], **listen}
    sections["TrustDomainSettings"]["properties"]["bundle"]["anyOf"].append({"type": "string", "minLength": 1})
    for section in sections.values():
        section.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "authz.yaml"}


def _rows(root: JsonSchema, section: JsonSchema, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in section["properties"].items():
        required = name in section.get("required", [])
        inner, below = _inner(root, field)
        meaning = field.get("description") or (inner or {}).get("description", "")
        yield (f"`{prefix}{name}`", _value(root, field), _default(field, required), " ".join(meaning.split()))
        if inner is not None:
            yield from _rows(root, inner, f"{prefix}{name}{below}.")


def _inner(root: JsonSchema, field: JsonSchema) -> tuple[JsonSchema | None, str]:
    """The section at a field, or at each name of a mapping, and what stands for that name in a key."""
    if "$ref" in field:
        return root["$defs"][field["$ref"].rpartition("/")[2]], ""
    for named in field.get("patternProperties", {}).values():
        return _inner(root, named)[0], ".*"
    found = [inner for shape in field.get("anyOf", []) if (inner := _inner(root, shape)[0]) is not None]
    return (found[0] if found else None), ""


def _value(root: JsonSchema, field: JsonSchema) -> str:
    if "anyOf" in field:
        shapes = [_value(root, shape) for shape in field["anyOf"] if shape.get("type") != "null"]
        return " or ".join(dict.fromkeys(shapes))
    if "$ref" in field:
        return "mapping"
    if "patternProperties" in field:
        return "mapping of names"
    if "enum" in field or "const" in field:
        return ", ".join(f"`{_yaml(value)}`" for value in field.get("enum", [field.get("const")]))
    if field["type"] == "array":
        return f"list of {_value(root, field['items'])}"
    text = {"string": "text", "integer": "number", "boolean": "`true` or `false`"}[field["type"]]
    example = field["examples"][0] if "examples" in field else None
    return text if example is None else f"{text} such as `{_yaml(example)}`"


def _default(field: JsonSchema, required: bool) -> str:
    if required:
        return "required"
    value = field.get("default")
    return "" if value in (None, {}, []) else f"`{_yaml(value)}`"


def _yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value).replace('"', "")
