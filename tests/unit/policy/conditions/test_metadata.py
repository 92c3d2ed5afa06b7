"""Metadata of Envoy's filters in conditions."""

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct, Value

from authz_server.policy.conditions import Evaluation
from tests.expressions import evaluation, failure, holds, request

JWT = "envoy.filters.http.jwt_authn"


def struct(**members: Any) -> Struct:
    """A struct as filters write them."""
    written = Struct()
    written.update(members)
    return written


def with_metadata(**namespaces: Struct) -> Evaluation:
    """A request with metadata; dots of namespaces are two underscores here."""
    asked = request(metadata={name.replace("__", "."): written for name, written in namespaces.items()})
    return Evaluation(evaluation().operation, None, None, 0.0, asked)


WRITTEN = {"sub": "ann", "level": 2, "admin": False, "none": None, "in": {"list": ["a", 1]}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (f'metadata["{JWT}"].sub == "ann"', True),
        (f'metadata["{JWT}"]["sub"] == "bob"', False),
        (f'metadata["{JWT}"].level == 2 && metadata["{JWT}"].level < 2.5', True),
        (f'metadata["{JWT}"].admin == false && metadata["{JWT}"].none == null', True),
        (f'metadata["{JWT}"].in.list[0] == "a"'.replace(".in", '["in"]'), True),
        (f'"{JWT}" in metadata && !("other" in metadata)', True),
        (f'has(metadata["{JWT}"].none) && !has(metadata["{JWT}"].more)', True),
        ("size(metadata) == 2", True),
        ("metadata.plain.x == 1", True),
    ],
)
def test_a_condition_reads_metadata(source: str, expected: bool) -> None:
    """By namespace and name."""
    asked = with_metadata(envoy__filters__http__jwt_authn=struct(**WRITTEN), plain=struct(x=1))
    assert holds(source, asked) is expected


@pytest.mark.parametrize(
    "source", [f'metadata["{JWT}"].sub == "ann"', f'has(metadata["{JWT}"].sub)', "metadata.x.y == 1"]
)
def test_what_no_filter_has_written_is_an_error(source: str) -> None:
    """HDR-09: never a value, and never true."""
    assert "missing" in failure(source, with_metadata(other=struct(sub="ann")))


def test_integers_are_doubles() -> None:
    """Protobuf's Struct has no others."""
    assert holds("metadata.a.n == 9007199254740992", with_metadata(a=struct(n=9007199254740993))) is True


def nested(depth: int) -> Struct:
    """Structs in one another."""
    inner = struct(x=1)
    for _ in range(depth - 1):
        inner = struct(x=inner)
    return inner


@pytest.mark.parametrize(
    "written",
    [
        struct(x="a\0b"),
        struct(**{"a\0": 1}),
        struct(x=float("nan")),
        struct(x=float("inf")),
        struct(x="a" * 65_536),
        nested(33),
        struct(x=[["a\0"]]),
    ],
    ids=lambda written: str(written)[:30],
)
def test_what_cannot_be_read_exactly_is_an_error(written: Struct) -> None:
    """NUL, numbers that are none, size and depth."""
    assert failure("has(metadata.a.x)", with_metadata(a=written)).startswith("`metadata`: ")


def test_depth_and_size_have_exact_bounds() -> None:
    """Up to there it is read; a value of no kind is null."""
    assert holds("has(metadata.a.x)", with_metadata(a=nested(32))) is True
    assert holds("has(metadata.a.x)", with_metadata(a=struct(x="a" * 65_000))) is True
    nothing = Struct()
    nothing.fields["x"].CopyFrom(Value())
    assert holds("metadata.a.x == null", with_metadata(a=nothing)) is True
