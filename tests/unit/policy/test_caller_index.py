"""What indexes remember of workloads stays within one bound."""

import weakref

import pytest

from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.model import Workload
from authz_server.policy import caller_index
from authz_server.policy.caller_index import CallerIndex, Fitting
from authz_server.policy.callers import Caller, caller_match
from authz_server.policy.plan import CallerItem


def caller(name: str) -> Caller:
    """A workload of the trust domain."""
    return Caller(Workload(parse_spiffe_id(f"spiffe://shop.example/{name}"), None), None, None)


@pytest.mark.parametrize(("bound", "remembered"), [({"entries": 10}, 10), ({"bytes": 10 * 550}, 10)])
def test_all_indexes_share_one_bound(monkeypatch: pytest.MonkeyPatch, bound: dict[str, int], remembered: int) -> None:
    """However many rules there are, and whoever calls; and the rules that fit are found all the same."""
    changed = {"entries": 1000, "bytes": 1_000_000, **bound}
    small = caller_index.WORKLOADS._replace(entries=changed["entries"], bytes=changed["bytes"])
    monkeypatch.setattr(caller_index, "WORKLOADS", small)
    fitting: Fitting[str] = Fitting()
    indexes = [CallerIndex(fitting) for _ in range(7)]
    for number, index in enumerate(indexes):
        index.add(caller_match(CallerItem(workloads=("spiffe://shop.example/**",)), "allow"), f"rule {number}")
    for name in range(100):
        for number, index in enumerate(indexes):
            assert index.find(caller(f"w{name}")) == [f"rule {number}"]
            assert sum(len(index._by_workload) for index in indexes) <= remembered


def test_what_an_index_remembers_is_found_again() -> None:
    """Without looking at the patterns."""
    index: CallerIndex[str] = CallerIndex(Fitting())
    index.add(caller_match(CallerItem(workloads=("spiffe://shop.example/*",)), "allow"), "rule")
    assert [index.find(caller("web")) for _ in range(2)] == [["rule"], ["rule"]]
    assert index._by_workload == {"spiffe://shop.example/web": ["rule"]}


def test_an_index_that_has_left_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the others go on, with what they remember; and what it took counts until all have forgotten."""
    small = caller_index.WORKLOADS._replace(entries=3)
    monkeypatch.setattr(caller_index, "WORKLOADS", small)
    fitting: Fitting[str] = Fitting()
    stays, leaves = (CallerIndex(fitting) for _ in range(2))
    for index in (stays, leaves):
        index.add(caller_match(CallerItem(workloads=("spiffe://shop.example/*",)), "allow"), "rule")
    assert [index.find(caller("web")) for index in (stays, leaves, stays)] == [["rule"]] * 3
    gone = weakref.ref(leaves)
    del leaves, index
    assert gone() is None
    remembered = []
    for name in ("a", "b", "c", "d", "e"):
        assert stays.find(caller(name)) == ["rule"]
        remembered.append(len(stays._by_workload))
    assert remembered == [2, 1, 2, 3, 1]
