"""Which other rules decide all that a rule is about."""

from collections.abc import Callable, Iterator, Sequence

from authz_server.analysis.covering import Both, covers_callers, covers_operation, single, ways
from authz_server.analysis.judge import Action, Circumstances, Probe, Who, operation_of
from authz_server.analysis.meeting import ByAction
from authz_server.analysis.segments import SAMPLES
from authz_server.errors import Refused
from authz_server.policy.patterns import Literal, PathTemplate, parse_host_pattern
from authz_server.policy.plan import OperationItem, Plan, Rule, Service

_EVERY_OPERATION = OperationItem()
Operations = tuple[OperationItem, PathTemplate | None]


class Overlaps:
    """The rules of a plan, each held against those that fit the same requests."""

    def __init__(self, plan: Plan) -> None:
        self._by_action = ByAction(plan)
        self._unnamed = {service.name: _unnamed(service) for service in plan.services}
        self._met: dict[tuple[str, str], list[tuple[Operations, list[Rule]]]] = {}

    def shadowing(self, service: Service, rule: Rule) -> list[Rule] | None:
        """The deny rules that deny all that an allow rule would allow; None where some of it is left."""
        return self._together(service, rule, lambda other: _denies_always(service, other))

    def covering(self, service: Service, rule: Rule) -> list[Rule] | None:
        """The allow rules that allow all that an allow rule does, in the same way; None where they do not."""
        return self._together(service, rule, lambda other: _allows_whenever(rule, other))

    def _together(self, service: Service, rule: Rule, serves: Callable[[Rule], bool]) -> list[Rule] | None:
        found: dict[str, Rule] = {}
        for operations, met in self._meeting(service, rule):
            others = [other for other in met if serves(other)]
            for callers in _callers(rule):
                one = next((other for other in others if _covers(other, operations, callers, service.hosts)), None)
                if one is None:
                    return None
                found[one.id] = one
        return list(found.values())

    def _meeting(self, service: Service, rule: Rule) -> list[tuple[Operations, list[Rule]]]:
        """For each kind of operation, the other rules that fit one of it: those that cover all are among these."""
        key = (service.name, rule.id)
        if key not in self._met:
            self._met[key] = []
            for operations in _operations(rule):
                met = [other for other in self._fitting(service, operations) if other.id != rule.id]
                self._met[key].append((operations, met))
                if not met:
                    break
        return self._met[key]

    def _fitting(self, service: Service, operations: Operations) -> list[Rule]:
        try:
            operation, _ = operation_of(
                Probe(_sample(service, *operations, self._unnamed[service.name]), Who(), Circumstances())
            )
        except Refused:
            return []
        return self._by_action.rules(operation, service.name)


def _covers(other: Rule, operations: Operations, callers: Both | None, hosts: Sequence[str]) -> bool:
    if not any(covers_operation(wide, operations, other.effect, hosts) for wide in _operations(other)):
        return False
    return any(wide is None or (callers is not None and covers_callers(wide, callers)) for wide in _callers(other))


def _operations(rule: Rule) -> Iterator[Operations]:
    for item in rule.operations or (_EVERY_OPERATION,):
        yield from single(item)


def _callers(rule: Rule) -> Iterator[Both | None]:
    if rule.callers is None:
        yield None
    for item in rule.callers or ():
        yield from ways(item)


def _denies_always(service: Service, rule: Rule) -> bool:
    enforced = not rule.audit and (rule.guardrail or not service.audit)
    return rule.effect == "deny" and rule.condition is None and rule.times is None and enforced


def _allows_whenever(rule: Rule, other: Rule) -> bool:
    """Whether a rule that fits allows whenever another one would; of two that do so for each other, the first stays."""
    same_condition = other.condition is None or (rule.condition is not None and _says_the_same(rule, other))
    return (
        other.effect == "allow"
        and not other.audit
        and same_condition
        and other.times in (None, rule.times)
        and other.requires in (None, rule.requires)
        and (other.answer, other.record) == (rule.answer, rule.record)
        and not any(name.startswith("path") for e in other.answer.expressions() for name in e.reads)
    )


def _says_the_same(rule: Rule, other: Rule) -> bool:
    one, two = rule.condition, other.condition
    return (
        one is not None and two is not None and one.ast == two.ast and not any(r.startswith("path") for r in one.reads)
    )


def _sample(service: Service, item: OperationItem, template: PathTemplate | None, unnamed: str) -> Action:
    pattern = parse_host_pattern((item.hosts or service.hosts)[0])
    name = {"*": "any.example"}.get(pattern.name, pattern.name.replace("*", "any"))
    host = name if pattern.port is None else f"{name}:{pattern.port}"
    segments = [part for part in service.path_prefix.split("/") if part]
    slash = not segments
    if template is not None:
        segments = [_segment(part) for part in template.segments] + (["x"] if template.rest is not None else [])
        slash = template.trailing_slash if template.rest is None else False
    method = "CONNECT" if item.connect else (item.methods or (unnamed,))[0]
    return Action(
        method,
        host,
        tuple(segments),
        slash or not segments,
        item.upgrade or "",
        item.grpc is not None,
        item.ports[0] if item.ports else None,
    )


def _unnamed(service: Service) -> str:
    """A method that only rules fit which fit all of them."""
    named = {method for rule in service.rules for item in rule.operations or () for method in item.methods}
    return next(method for method in ("GET", "X-ANY", "X-OTHER") if method not in named)


def _segment(part: object) -> str:
    if isinstance(part, Literal):
        return part.text
    return f"{part.prefix}{SAMPLES[part.kind][0]}{part.suffix}"  # type: ignore[attr-defined]
