"""Metadata of Envoy's filters as conditions see it: plain values, numbers as the doubles that they are."""

from math import isfinite
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

from authz_server.policy.conditions.values import Unusable, checked_text

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32


def plain(written: Struct) -> dict[str, Any]:
    """What a filter has written under its namespace. Raises Unusable."""
    if written.ByteSize() > MAX_BYTES:
        raise Unusable(f"it is larger than {MAX_BYTES} bytes")
    return _struct(written, 1)


def _struct(struct: Struct, depth: int) -> dict[str, Any]:
    return {checked_text(name): _value(value, depth) for name, value in struct.fields.items()}


def _value(value: Value, depth: int) -> Any:  # noqa: ANN401 - any value of JSON
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return checked_text(value.string_value)
    if kind == "number_value":
        if not isfinite(value.number_value):
            raise Unusable("a number is not finite")
        return value.number_value
    if kind == "bool_value":
        return value.bool_value
    if depth == MAX_DEPTH:
        raise Unusable(f"it is nested deeper than {MAX_DEPTH}")
    if kind == "struct_value":
        return _struct(value.struct_value, depth + 1)
    if kind == "list_value":
        return [_value(item, depth + 1) for item in value.list_value.values]
    return None
