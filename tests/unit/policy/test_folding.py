"""How deny rules read paths."""

import pytest

from authz_server.model import Path
from authz_server.policy.folding import folded_readings


@pytest.mark.parametrize(
    ("segments", "readings"),
    [
        (("a",), [("a",)]),
        (("A", "B"), [("a", "b")]),
        (("a.", "b "), [("a.", "b "), ("a", "b")]),
        (("a", "..."), [("a", "..."), ("a",)]),
        # Of a lenient service: slashes at the end, however many.
        (("a", ""), [("a", ""), ("a",)]),
        (("a", "", "", "."), [("a", "", "", "."), ("a",)]),
        (("a", "", "b"), [("a", "", "b")]),
        (("", ""), [("", ""), ()]),
    ],
)
def test_a_path_is_read_without_what_backends_drop(segments: tuple[str, ...], readings: list[tuple[str, ...]]) -> None:
    """As it is, and without what stands at the end of segments, and of the path."""
    assert folded_readings(Path(segments, trailing_slash=False)) == readings
