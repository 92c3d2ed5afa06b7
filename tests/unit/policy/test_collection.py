"""Many objects that come and go at once."""

import gc
import weakref
from pathlib import Path

import pytest

from authz_server.policy import collection
from authz_server.policy.collection import free_in_steps, without_collection
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.index import PolicyIndex
from tests.builders import plan_of

RULE = "      - {{id: r{number}, effect: allow, from: anyone, to: [{{paths: ['/{number}/{{id}}']}}], when: has_user}}\n"
SERVICE = "    kind: service\n    name: orders\n    hosts: [shop.example]\n    rules:\n"


def test_nothing_is_collected_within() -> None:
    """And the collector runs again afterwards, as it did before, whatever happens."""
    assert gc.isenabled()
    with without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="x"), without_collection():
        raise ValueError("x")
    assert gc.isenabled()


def test_what_is_frozen_is_looked_at_no_more() -> None:
    """What was made within is not, either."""
    before = gc.get_freeze_count()
    try:
        with without_collection(freeze=True):
            kept = [[number] for number in range(1000)]
        assert gc.get_freeze_count() >= before + len(kept)
    finally:
        gc.unfreeze()


def test_policies_that_are_let_go_are_freed(tmp_path: Path) -> None:
    """All of them."""
    text = SERVICE + "".join(RULE.format(number=number) for number in range(100))
    index = PolicyIndex(plan_of(tmp_path, orders=text), ConditionRuntime(), ())
    gone = weakref.ref(index)
    roots: list[object] = [index]
    del index
    free_in_steps(roots)
    assert roots == []
    assert gone() is None


def test_what_somebody_else_holds_stays_whole() -> None:
    """Such as the policies of a check that is under way."""
    inner = {"a": [1, {"b": (2, [3])}]}
    outer: list[object] = [{"inner": inner, "other": [1]}]
    free_in_steps(outer)
    assert inner == {"a": [1, {"b": (2, [3])}]}


def test_what_stays_is_not_looked_through() -> None:
    """However much it holds."""
    steps: list[None] = []
    stays = [[number] for number in range(1000)]
    free_in_steps([{"left": [1], "stays": stays}], lambda: steps.append(None), [stays])
    assert len(stays) == 1000
    assert 0 < len(steps) < 10


def test_parents_go_before_their_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that went last would take all that it holds with it, and nobody could do anything meanwhile."""
    went: list[str] = []
    monkeypatch.setattr(collection, "_PACKAGE", __name__)

    class Part:
        def __init__(self, name: str, *children: "Part") -> None:
            self.name, self.children = name, list(children)

        def __del__(self) -> None:
            went.append(self.name)

    free_in_steps([Part("root", Part("left", Part("leaf")), Part("right"))])
    assert sorted(went) == ["leaf", "left", "right", "root"]
    assert went[0] == "root"
    assert went.index("left") < went.index("leaf")
