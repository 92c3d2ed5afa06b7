"""Paths without their ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.model import Path
from authz_server.request.path import canonical_path
from authz_server.usage.shapes import covers, merged, shape_of

WORD = st.sampled_from(["a", "b", "c", "7", "x1", "0a3d6a1b-2c3d-4e5f-8a9b-0c1d2e3f4a5b", "y" * 41, "e%20f", "%7Bg%7D"])


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/", "/"),
        ("/users", "/users"),
        ("/users/", "/users/"),
        ("/users/7/avatar", "/users/{:int}/avatar"),
        ("/users/c7-1", "/users/{:text}"),
        ("/users/0A3d6a1b-2c3d-4e5f-8a9b-0c1d2e3f4a5b", "/users/{:uuid}"),
        ("/v1/users", "/v1/users"),
        ("/a%20b", "/a b"),
        ("/%7Ba%7D", "/{:text}"),
        ("/*", "/{:text}"),
        ("/" + "9" * 19, "/{:text}"),
        ("/" + "w" * 41, "/{:text}"),
    ],
)
def test_ids_are_left_out(path: str, shape: str) -> None:
    """Numbers, UUIDs and whatever has digits; what templates cannot name, too."""
    assert shape_of(canonical_path(path).path) == shape


def test_a_shape_may_begin_later() -> None:
    """Behind what a template names."""
    assert shape_of(Path(("admin", "users", "7"), False), 1) == "/users/{:int}"


def test_many_shapes_become_few() -> None:
    """Where they differ in one segment most of all, and no more than asked."""
    shapes = [f"/articles/{word}/text" for word in "abcdefgh"] + ["/about", "/articles/{:int}/text", "/team/a/text"]
    into = merged(shapes, 3)
    assert {into[shape] for shape in shapes} == {"/articles/{:text}/text", "/about", "/team/a/text"}


def test_shapes_that_differ_everywhere_become_one_too() -> None:
    """Segment by segment."""
    assert set(merged(["/a/b", "/c/d", "/e/f"], 1).values()) == {"/{:text}/{:text}"}


@given(st.lists(st.lists(WORD, min_size=1, max_size=3), min_size=1, max_size=30), st.integers(1, 4), st.booleans())
def test_what_is_merged_covers_what_it_was_made_of(paths: list[list[str]], at_most: int, slash: bool) -> None:
    """Whatever the shapes; of each length there are no more than asked."""
    shapes = [shape_of(canonical_path("/" + "/".join(path) + "/" * slash).path) for path in paths]
    into = merged(shapes, at_most)
    assert all(covers(into[shape], shape) for shape in shapes)
    for length in (1, 2, 3):
        assert len({wide for wide in into.values() if wide.rstrip("/").count("/") == length}) <= at_most
