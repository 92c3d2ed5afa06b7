"""Runs cases, and says what differs from what they expect."""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from authz_server.errors import OUTCOMES
from authz_server.model import Decision
from authz_server.policy.testcases import Expectation
from authz_server.testing.cases import BoundCase
from authz_server.testing.engine import Engine


class Outcome(Struct, frozen=True):
    """What came of a case."""

    case: BoundCase
    decision: Decision

    @property
    def passed(self) -> bool:
        """Whether the decision is the expected one."""
        return is_expected(self.case.expected, self.decision)

    @property
    def expected(self) -> str:
        """What should have been decided, in words: `allow by customers-read-their-orders`."""
        wanted = self.case.expected
        said = _words(wanted.decision, wanted.reason, wanted.rule, wanted.would_deny)
        return said + _answer(wanted.status, wanted.set_headers)

    @property
    def actual(self) -> str:
        """What was decided, in the same words."""
        decision = self.decision
        reason = None if decision.reason == "allowed" else decision.reason
        said = _words("allow" if decision.allowed else "deny", reason, decision.rule, decision.would_deny)
        wanted, headers = self.case.expected, _set_headers(decision)
        status = None if wanted.status is None or decision.allowed else _status(decision)
        said += _answer(status, {name: headers[name] for name in wanted.set_headers if name in headers})
        return said if decision.detail is None else f"{said}: {decision.detail}"


def run(cases: Iterable[BoundCase], engine: Engine) -> Iterator[Outcome]:
    """Decide the cases one after the other."""
    for case in cases:
        yield Outcome(case, engine.decide(case))


def is_expected(expected: Expectation, decision: Decision) -> bool:
    """Whether a decision is what a case expects."""
    return (
        decision.allowed == (expected.decision == "allow")
        and expected.reason in (None, decision.reason)
        and (expected.rule is None or names_rule(expected.rule, decision.rule))
        and expected.would_deny in (None, decision.would_deny)
        and expected.status in (None, _status(decision))
        and expected.set_headers.items() <= _set_headers(decision).items()
    )


def names_rule(rule: str, decided_by: str | None) -> bool:
    """Whether an id or full id is that of the rule that decided."""
    return decided_by is not None and rule in (decided_by, decided_by.rpartition("/")[2])


def _status(decision: Decision) -> int:
    return decision.answer.status or OUTCOMES[decision.reason].http_status


def _set_headers(decision: Decision) -> dict[str, str]:
    """What the upstream gets; of a denial nothing."""
    return {change.name: change.value for change in decision.answer.set_headers} if decision.allowed else {}


def _answer(status: int | None, headers: Mapping[str, str]) -> str:
    shown = [f"{name}: {value}" for name, value in headers.items()]
    return "".join(f", {part}" for part in ([] if status is None else [f"status {status}"]) + shown)


def _words(decision: str, reason: str | None, rule: str | None, would_deny: bool | None) -> str:
    words = decision if reason is None else f"{decision} ({reason})"
    words += f" by {rule}" if rule else ""
    return f"{words}, in audit" if would_deny else words
