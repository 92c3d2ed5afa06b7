"""Policies in force and a candidate beside them, for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import structs

from authz_server.model import Comparison, Decision
from authz_server.pipeline import check
from authz_server.policy.candidate import Candidate
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.index import PolicyIndex
from authz_server.snapshot import Snapshot
from tests.builders import PRINCIPALS_ARE_BELIEVED, plan_of, request, snapshot_of
from tests.unit.identity.tokens import NOW

WEB = "spiffe://shop.example/ns/front/sa/web"
SERVICE = "{kind: service, name: orders, hosts: [orders.shop.example], rules: [%s]%s}"
OPEN = "{id: open, effect: allow, from: anyone%s}"
SHUT = "{id: shut, effect: deny%s}"
NOTHING = "{id: nobody, effect: allow, from: anyone, to: [{paths: [/never]}]}"


class Told:
    """What the watch of a candidate is told."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[Comparison, bool]] = []
        self.errors: list[Exception] = []

    def compared(
        self, outcome: Comparison, seconds: float, *, by_candidate: bool, denied_by_both: bool = False
    ) -> None:
        """One request about which both were asked."""
        assert not denied_by_both or (by_candidate and outcome in ("same", "other"))
        assert seconds >= 0
        self.outcomes.append((outcome, by_candidate))

    def failed(self, error: Exception) -> None:
        """A defect."""
        self.errors.append(error)


class Scene:
    """Policies in force and a candidate, each the text of a service."""

    def __init__(self, directory: Path, enforced: str, candidate: str, **fields: Any) -> None:
        runtime = ConditionRuntime()
        self.told = Told()
        self.revisions = []
        self.indexes = []
        for name, text in (("enforced", enforced), ("candidate", candidate)):
            plan = plan_of(directory / name, orders=text)
            self.revisions.append(plan.revision)
            self.indexes.append(PolicyIndex(plan, runtime, ()))
            alone = snapshot_of(plan, PRINCIPALS_ARE_BELIEVED)
        self.candidate = Candidate(self.indexes[1], self.told, **fields)
        self.snapshot: Snapshot = structs.replace(alone, policies=self.indexes[0], candidate=self.candidate)

    def decide(self, *args: Any, is_late: Callable[[], bool] = lambda: False, **fields: Any) -> Decision:
        """The decision about one request."""
        return check(request(*args, **fields), self.snapshot, NOW, is_late)

    def alone(self, *args: Any, **fields: Any) -> Decision:
        """The decision without a candidate."""
        return check(request(*args, **fields), structs.replace(self.snapshot, candidate=None), NOW)


def service(*rules: str, more: str = "") -> str:
    """A service with these rules."""
    return SERVICE % (", ".join(rules), more)


def same(decision: Decision, other: Decision) -> bool:
    """Whether two decisions are the same but for their ids and for what is said of a candidate."""
    changes: dict[str, Any] = {"id": "", "compared": None, "inputs": {}, "absent": ()}
    return structs.replace(decision, **changes) == structs.replace(other, **changes)
