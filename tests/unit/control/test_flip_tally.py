"""What a candidate decides differently, counted."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from authz_server.control import flip_tally
from authz_server.control.findings import Findings, Flip
from authz_server.control.flip_tally import FLIPS, FlipTally
from authz_server.policy.plan import Plan
from authz_server.replay.recorded import read_record
from tests.builders import plan_of
from tests.compared import ALLOWED, CANDIDATE, IN_FORCE, REFUSED, candidate_of, compared, in_force, line

WEB = "spiffe://shop.example/ns/front/sa/web"


class Scene:
    """A tally, and the policies in force."""

    def __init__(self, tmp_path: Path) -> None:
        self.plan: Plan = in_force(tmp_path)
        self.tally = FlipTally(self.plan, candidate_of(self.plan), Findings(self.plan.revision, CANDIDATE, 0.0))

    def flip(self, **changes: Any) -> bool:
        """The policies in force have decided; whether it counts."""
        return self.add(compared(self.plan.revision, **changes))

    def add(self, record: bytes) -> bool:
        """Count this; whether it counts."""
        return self.tally.add(read_record(record), record)

    def only(self) -> Flip:
        """The one flip."""
        [flip] = self.tally.flips
        return flip


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_alike_ones_are_counted_together(scene: Scene) -> None:
    """With the first and the last time, and the record that came first as the example."""
    late, early = "2026-03-02T12:00:00.000000Z", "2026-03-02T09:00:00.000000Z"
    assert [scene.flip(), scene.flip(time=late, path="/orders/8"), scene.flip(time=early)] == [True] * 3
    flip = scene.only()
    assert (flip.records, flip.first, flip.last) == (3, early, late)
    assert flip.example == compared(scene.plan.revision)
    assert flip.kind.route == "GET orders.shop.example/orders/{order_id}"
    assert (flip.kind.change, flip.kind.caller) == ("closed", "no workload, user of corp")
    assert flip.rules == {"orders/readers"}


@pytest.mark.parametrize(
    ("changes", "change"),
    [
        ({}, "closed"),
        ({**REFUSED, "said": ALLOWED}, "opened"),
        ({"said": ALLOWED | {"rule": "orders/customers"}}, "other"),
        ({"said": ALLOWED | {"reason": "no_rule_allows", "rule": None, "would_deny": True}}, "other"),
    ],
)
def test_each_change_has_its_name(scene: Scene, changes: dict[str, Any], change: str) -> None:
    """What a caller is told counts, and then the rest."""
    assert scene.flip(**changes)
    assert scene.only().kind.change == change


def test_what_the_candidate_has_decided_is_the_same_flip(scene: Scene) -> None:
    """Before is what is in force, whoever has decided; so it has the same id."""
    scene.flip()
    by_candidate = {"revision": CANDIDATE, "policies": "candidate", **REFUSED}
    assert scene.add(line(**by_candidate, compared={"revision": scene.plan.revision, **ALLOWED}))
    assert scene.only().records == 2


def test_other_callers_and_routes_are_other_flips(scene: Scene) -> None:
    """Users of one issuer are not told apart: they are many."""
    for changes in (
        {},
        {"workload": WEB},
        {"user": None},
        {"method": "HEAD"},
        {"user": {"issuer": "corp", "subject": "bob"}},
    ):
        scene.flip(**changes)
    flips = scene.tally.flips
    assert [flip.records for flip in flips] == [2, 1, 1, 1]
    assert len({flip.id for flip in flips}) == 4


def test_records_of_other_revisions_do_not_count(scene: Scene) -> None:
    """They come late, or from a server that runs no more; nor do those in which nothing was compared."""
    assert not scene.flip(candidate="d" * 32)
    assert not scene.add(compared("e" * 32))
    assert not scene.add(line(revision=scene.plan.revision, compared=None))
    # The candidate was in force, and what is in force was the candidate.
    assert not scene.add(compared(CANDIDATE, scene.plan.revision))
    assert scene.tally.flips == ()


def test_flips_of_other_changes_do_not_take_the_room(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of each are kept; others are counted."""
    monkeypatch.setattr(flip_tally, "KINDS", 3)
    for number in range(5):
        scene.flip(said=ALLOWED | {"rule": f"orders/r{number}"})
    for number in range(4):
        scene.flip(workload=f"{WEB}{number}")
    changes = [flip.kind.change for flip in scene.tally.flips]
    assert changes == ["other"] * 3 + ["closed"] * 3
    assert scene.tally.more == {"other": 2, "closed": 1}
    scene.flip(workload=f"{WEB}0")
    assert scene.tally.more == {"other": 2, "closed": 1}


def test_long_records_are_kept_up_to_a_bound(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of bytes; what was known before counts."""
    monkeypatch.setattr(flip_tally, "FLIPS", FLIPS._replace(bytes=20_000))
    long: dict[str, Any] = {"inputs": {"user.scopes": ["x" * 7000]}}
    for number in range(2):
        scene.flip(workload=f"{WEB}{number}", **long)
    again = FlipTally(
        scene.plan, candidate_of(scene.plan), Findings(scene.plan.revision, CANDIDATE, 0.0, scene.tally.flips)
    )
    record = compared(scene.plan.revision, workload=f"{WEB}9", **long)
    again.add(read_record(record), record)
    assert (len(again.flips), again.more) == (2, {"closed": 1})


def test_ids_are_stable(scene: Scene) -> None:
    """They are what `--accept` names, in scripts too."""
    scene.flip()
    assert scene.only().id == "d57c3be111"


def test_hostile_paths_have_routes(scene: Scene) -> None:
    """None keeps the others from being counted."""
    for path in ("", "//", "/a/../b", "/%zz", "/orders/7?x", "\x00"):
        scene.flip(path=path)
    assert sum(flip.records for flip in scene.tally.flips) == 6


def test_names_are_told_apart_whatever_they_hold(scene: Scene) -> None:
    """No two kinds have one id because of where their texts end."""
    ids = set()
    for workload, host in itertools.product(("spiffe://a/b", "spiffe://a"), ("b.example", "b")):
        scene.flip(workload=workload, host=host)
    ids = {flip.id for flip in scene.tally.flips}
    assert len(ids) == 4


def test_what_a_new_rule_opens_is_one_route(scene: Scene, tmp_path: Path) -> None:
    """By the template of the candidate, where those in force know no such path; not one for each name of a thing."""
    text = IN_FORCE.replace("/orders/{order_id}", "/products/{name}")
    candidate = plan_of(tmp_path / "candidate", orders=text)
    tally = FlipTally(scene.plan, candidate, Findings(scene.plan.revision, candidate.revision, 0.0))
    for name in ("apples", "pears"):
        record = compared(scene.plan.revision, candidate.revision, ALLOWED, **REFUSED, path=f"/products/{name}")
        assert tally.add(read_record(record), record)
    assert [flip.kind.route for flip in tally.flips] == ["GET orders.shop.example/products/{name}"]
