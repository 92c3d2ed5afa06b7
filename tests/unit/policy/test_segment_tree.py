"""The tree over segments."""

from typing import NamedTuple

from authz_server.policy.segment_tree import SegmentTree


class StartsWith(NamedTuple):
    """A hole for segments with a prefix."""

    prefix: str

    @property
    def fits_all(self) -> bool:
        """Whether every segment does."""
        return not self.prefix

    def fits(self, segment: str) -> bool:
        """Whether the segment begins with the prefix."""
        return segment.startswith(self.prefix)


def tree_of(*patterns: tuple[list[str | StartsWith], str]) -> SegmentTree[list[int]]:
    """A tree with the number of each pattern filed under it."""
    tree: SegmentTree[list[int]] = SegmentTree(list)
    for number, (steps, ending) in enumerate(patterns):
        tree.leaf(steps, ending).append(number)  # type: ignore[arg-type]
    return tree


def found(tree: SegmentTree[list[int]], *segments: str, trailing_slash: bool = False) -> list[int]:
    """The numbers of the patterns that fit, sorted."""
    return sorted(number for leaf in tree.find(segments, trailing_slash) for number in leaf)


def test_all_patterns_that_fit_are_found_and_no_other() -> None:
    """Literals, holes and rests are followed side by side."""
    tree = tree_of(
        (["orders", "c7"], "exact"),
        (["orders", StartsWith("")], "exact"),
        (["orders", StartsWith("c")], "exact"),
        (["orders"], "rest"),
        (["orders"], "exact"),
        ([], "rest"),
    )
    assert found(tree, "orders", "c7") == [0, 1, 2, 3, 5]
    assert found(tree, "orders", "d7") == [1, 3, 5]
    assert found(tree, "orders") == [4, 5]
    assert found(tree, "orders", "c7", "items") == [3, 5]
    assert found(tree, "users") == [5]
    assert found(tree) == []


def test_a_final_slash_is_another_ending() -> None:
    """`/a` and `/a/` are different paths, and a rest admits both."""
    tree = tree_of((["a"], "exact"), (["a"], "slash"), ([], "rest"), ([], "slash"))
    assert found(tree, "a") == [0, 2]
    assert found(tree, "a", trailing_slash=True) == [1, 2]
    assert found(tree, trailing_slash=True) == [3]


def test_a_rest_needs_at_least_one_more_segment() -> None:
    """`/a/**` is neither `/a` nor `/a/`."""
    tree = tree_of((["a"], "rest"))
    assert found(tree, "a") == []
    assert found(tree, "a", trailing_slash=True) == []
    assert found(tree, "a", "b") == [0]


def test_equal_patterns_share_a_leaf() -> None:
    """What is filed twice under one pattern is found once, together."""
    tree = tree_of((["a", StartsWith("b")], "exact"), (["a", StartsWith("b")], "exact"))
    assert len(tree.find(["a", "bc"])) == 1
    assert found(tree, "a", "bc") == [0, 1]
