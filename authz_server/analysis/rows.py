"""Differences as people ask for them: one row for each caller and operation, with an example."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from authz_server.analysis.difference import Flip
from authz_server.analysis.judge import Action, Outcome, Who
from authz_server.identity.spiffe import parse_spiffe_id, parse_spiffe_pattern
from authz_server.model import Path, User
from authz_server.policy.operation_index import templates
from authz_server.policy.patterns import Capture, PathTemplate
from authz_server.policy.plan import CallerItem, Plan, Service

Change = Literal["opened", "closed", "answered"]
OTHER_METHODS = "other methods"
EVERY_METHOD = "every method"
ORDER: dict[Change, int] = {"opened": 0, "closed": 1, "answered": 2}


class Row(Struct, frozen=True):
    """A kind of requests that is decided differently."""

    change: Change
    """DENY became ALLOW; ALLOW became DENY; the decision stays, and the answer is another one."""
    caller: str
    """The least that such a caller has."""
    operation: str
    flip: Flip
    """The example: the simplest that was found."""


def rows(flips: Iterable[Flip], old: Plan, new: Plan) -> list[Row]:
    """All rows, what was opened first."""
    named = _Names([*old.services, *new.services])
    groups: dict[tuple[str, str, tuple[object, ...]], list[Flip]] = {}
    for flip in flips:
        kind = (named.place(flip.probe.action), named.method(flip.probe.action), _shown(flip))
        groups.setdefault(kind, []).append(flip)
    found: dict[tuple[str, str, object], Row] = {}
    methods: dict[tuple[str, str, object], list[str]] = {}
    for (place, method, shown), group in groups.items():
        supposed, *rest = shown
        proven = groups.get((place, method, (False, *rest)), []) if supposed else []
        for least in _least([flip for flip in group if not _is_proven(flip, proven)]):
            caller = named.caller(least.probe.who)
            key = (place, caller, shown)
            found.setdefault(key, Row(_change(least), caller, "", least))
            methods.setdefault(key, []).append(method)
    made = [replace(row, operation=f"{', '.join(dict.fromkeys(methods[key]))} {key[0]}") for key, row in found.items()]
    return sorted(made, key=lambda row: (row.flip.supposed, ORDER[row.change]))


def _shown(flip: Flip) -> tuple[object, ...]:
    same = flip.old.allowed == flip.new.allowed
    return flip.supposed, flip.conditions, _told(flip.old, same), _told(flip.new, same)


def _is_proven(flip: Flip, proven: Iterable[Flip]) -> bool:
    """Whether what is supposed of a caller was found for one who has no more, but for claims."""
    who = flip.probe.who
    return any(who.has_all_of(one.probe.who) and _claims_agree(who, one.probe.who) for one in proven)


def _claims_agree(who: Who, other: Who) -> bool:
    """Whether one caller could have the claims of both."""
    mine, theirs = ({} if each.user is None else each.user.claims for each in (who, other))
    return all(mine.get(name, value) == value for name, value in theirs.items())


def _told(outcome: Outcome, same: bool) -> str:
    """What rows keep apart: of requests that are allowed on one side alone, why no rule allows them does not matter."""
    return "DENY" if not same and not outcome.allowed and outcome.rule is None else in_words(outcome)


def in_words(outcome: Outcome) -> str:
    """What is decided, and by what."""
    if outcome.allowed:
        return f"ALLOW {outcome.rule or 'in audit'}"
    return f"DENY {outcome.status} {outcome.rule or outcome.reason}"


def _change(flip: Flip) -> Change:
    if flip.old.allowed == flip.new.allowed:
        return "answered"
    return "opened" if flip.new.allowed else "closed"


def _least(group: Sequence[Flip]) -> list[Flip]:
    """Those whose callers have no more than others of the group."""
    least: list[Flip] = []
    for flip in sorted(group, key=lambda flip: flip.probe.who.weight):
        if not any(flip.probe.who.has_all_of(one.probe.who) for one in least):
            least.append(flip)
    return least


class _Names:
    """What rules call callers and paths, for those who know the rules."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._templates: dict[PathTemplate, None] = {}
        self._workloads: dict[str, None] = {}
        self._methods: set[str] = {"CONNECT"}
        for service in services:
            for rule in service.rules:
                found = [template for item in rule.operations or () for template in templates(item)]
                self._templates.update((template, None) for template in found if template is not None)
                self._methods.update(method for item in rule.operations or () for method in item.methods)
                self._workloads.update((text, None) for text in _workloads(rule.callers or ()))

    def method(self, action: Action) -> str:
        """The method, if some rule names it."""
        if action.method in self._methods:
            return action.method
        return OTHER_METHODS if len(self._methods) > 1 else EVERY_METHOD

    def place(self, action: Action) -> str:
        """Host and path, and whatever else is not usual."""
        more = [f"upgrade {action.upgrade}"] if action.upgrade else []
        more += ["gRPC"] if action.grpc else []
        more += [f"port {action.port}"] if action.port is not None else []
        return f"{action.host}{self._path(action)}{_in_brackets(', '.join(more))}"

    def _path(self, action: Action) -> str:
        path = Path(action.segments, action.trailing_slash)
        fitting = [template for template in self._templates if template.match(path) is not None]
        if not fitting:
            return action.target
        return min(fitting, key=_openness).text

    def caller(self, who: Who) -> str:
        """The least that a caller has."""
        parts = [] if who.workload is None else [self._workload(who.workload)]
        parts += [] if who.user is None else [_user(who.user)]
        parts = parts or ["anonymous"]
        parts += [f"from {who.address}"] if who.address else []
        return ", ".join(parts)

    def _workload(self, text: str) -> str:
        identity = parse_spiffe_id(text)
        fitting = [pattern for pattern in self._workloads if parse_spiffe_pattern(pattern).matches(identity)]
        return min(fitting, key=lambda pattern: pattern.count("*")) if fitting else text


def _openness(template: PathTemplate) -> tuple[int, int, int]:
    captures = [segment for segment in template.segments if isinstance(segment, Capture)]
    return template.rest is not None, len(captures), -len(template.segments)


def _workloads(items: Iterable[CallerItem]) -> Iterator[str]:
    for item in items:
        yield from item.workloads
        yield from _workloads(item.any_of)


def _user(user: User) -> str:
    had = [f"{name} {', '.join(sorted(values))}" for name, values in _sets(user) if values]
    had += [f"claim {name} {value!r}" for name, value in user.claims.items()]
    had += [f"actor {user.actor.subject}"] if user.actor is not None else []
    who = "user" if user.subject == "somebody" else f"user {user.subject}"
    return f"{who} of {user.issuer}{_in_brackets('; '.join(had))}"


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _sets(user: User) -> list[tuple[str, frozenset[str]]]:
    return [("scopes", user.scopes), ("roles", user.roles), ("groups", user.groups)]
