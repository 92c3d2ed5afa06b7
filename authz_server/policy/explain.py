"""Why a rule did not apply: the first of its demands that the request does not meet.

Nothing here knows when a demand is met. A rule is taken apart into rules that demand one thing more each, the last of
them the rule itself, and the engine is asked about each; so what is said cannot disagree with what is decided.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from authz_server.errors import Reason
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import ConditionRuntime, Evaluation
from authz_server.policy.decide import Verdict, decide
from authz_server.policy.index import PolicyIndex
from authz_server.policy.misfits import (
    actor_misfit,
    anonymous_misfit,
    claim_misfit,
    group_misfit,
    host_misfit,
    issuer_misfit,
    method_misfit,
    network_misfit,
    path_misfit,
    port_misfit,
    protocol_misfit,
    role_misfit,
    scope_misfit,
    subject_misfit,
    user_misfit,
    workload_misfit,
)
from authz_server.policy.plan import AnswerItem, CallerItem, Effect, OperationItem, Plan, Rule, Service, UserItem
from authz_server.request.operation import Operation

FITS = "fits"
_APPLIES = (Reason.ALLOWED, Reason.DENIED_BY_RULE)


class RuleOutcome(Struct, frozen=True):
    """What came of one rule: `fits`, or what did not; also of a rule in audit, which changes nothing."""

    rule: str
    effect: Effect
    outcome: str


class _Step(NamedTuple):
    """A rule that demands one thing more than the step before, and what to say when it no longer applies."""

    rule: Rule
    misfit: str


class _CallerStep(NamedTuple):
    item: CallerItem
    misfit: str


class Explanation:
    """One request, to be held against the rules of the service that it was decided by."""

    def __init__(
        self,
        service: Service,
        runtime: ConditionRuntime,
        identity_headers: Iterable[str],
        operation: Operation,
        caller: Caller,
        evaluation: Evaluation,
    ) -> None:
        self._service = service
        self._runtime = runtime
        self._identity_headers = tuple(identity_headers)
        self._operation = operation
        self._caller = caller
        self._evaluation = evaluation

    def outcomes(self) -> list[RuleOutcome]:
        """Every rule of the service, in order, with what came of it."""
        return [RuleOutcome(rule.id, rule.effect, self.outcome(rule)) for rule in self._service.rules]

    def outcome(self, rule: Rule) -> str:
        """`fits`, or the first thing that does not; of several ways to fit, that of the way that came furthest."""
        furthest, said = -1, FITS
        for operation in rule.operations or (OperationItem(),):
            for caller in rule.callers or (None,):
                for reached, misfit in self._ways(rule, operation, caller):
                    if misfit is None:
                        return FITS
                    if reached > furthest:
                        furthest, said = reached, misfit
        return said

    def _ways(
        self, rule: Rule, operation: OperationItem, caller: CallerItem | None
    ) -> Iterator[tuple[int, str | None]]:
        """For each way through the roles of a caller: how many steps fit, and what the next one lacks."""
        bare = replace(
            rule,
            callers=None,
            operations=None,
            condition=None,
            answer=AnswerItem(),
            times=None,
            requires=None,
            audit=False,
        )
        operations = list(_operation_steps(bare, operation, self._operation))
        for callers in [[]] if caller is None else _caller_ways(caller, self._caller):
            steps = [
                *operations,
                *(_Step(replace(operations[-1].rule, callers=(item,)), misfit) for item, misfit in callers),
            ]
            complete = replace(steps[-1].rule, times=rule.times)
            steps.append(_Step(complete, "it does not exist at this time: see its `schedule` and `valid`"))
            steps.append(_Step(replace(complete, condition=rule.condition), "the condition is false"))
            steps.append(_Step(replace(complete, condition=rule.condition, answer=rule.answer), "the answer fails"))
            steps.append(_Step(replace(steps[-1].rule, requires=rule.requires), "requires: a stronger authentication"))
            yield self._first_misfit(steps)

    def _first_misfit(self, steps: list[_Step]) -> tuple[int, str | None]:
        for reached, step in enumerate(steps):
            verdict = self._verdict(step.rule)
            if verdict.reason not in _APPLIES:
                return reached, step.misfit if verdict.detail is None else _not_evaluated(step, verdict.detail)
        return len(steps), None

    def _verdict(self, rule: Rule) -> Verdict:
        """What the engine would decide if this were the only rule."""
        alone = replace(self._service, rules=(rule,))
        index = PolicyIndex(Plan("", (alone,)), self._runtime, self._identity_headers)
        service = index.service(self._operation, alone.name)
        assert service is not None  # noqa: S101 - it was just put there
        return decide(service, self._operation, self._caller, self._evaluation, credential_came=True)


def _not_evaluated(step: _Step, detail: str) -> str:
    what = "condition" if step.rule.answer == AnswerItem() else "answer"
    return f"the {what} could not be evaluated: {detail.removeprefix(f'{step.rule.id}: ')}"


def _operation_steps(bare: Rule, item: OperationItem, operation: Operation) -> Iterator[_Step]:
    """What an item of `to` demands, one after the other; that of the protocol stands even where nothing is named."""
    so_far = OperationItem(upgrade=item.upgrade, connect=item.connect)
    yield _Step(replace(bare, operations=(so_far,)), protocol_misfit(item, operation))
    demands: list[tuple[Callable[[OperationItem, Operation], str], dict[str, object]]] = [
        (path_misfit, {"paths": item.paths, "grpc": item.grpc}),
        (method_misfit, {"methods": item.methods}),
        (host_misfit, {"hosts": item.hosts}),
        (port_misfit, {"ports": item.ports}),
    ]
    for misfit, fields in demands:
        so_far = replace(so_far, **fields)
        yield _Step(replace(bare, operations=(so_far,)), misfit(item, operation))


def _caller_ways(item: CallerItem, caller: Caller) -> list[list[_CallerStep]]:
    """What an item of `from` demands, one after the other: one list for each way through its roles."""
    own = list(_own_steps(replace(item, any_of=()), caller))
    if not item.any_of:
        return [own]
    return [
        own + [_CallerStep(replace(item, any_of=(step.item,)), f"role: {step.misfit}") for step in way]
        for nested in item.any_of
        for way in _caller_ways(nested, caller)
    ]


def _own_steps(item: CallerItem, caller: Caller) -> Iterator[_CallerStep]:
    so_far = CallerItem(workloads=item.workloads)
    yield _CallerStep(so_far, workload_misfit(item, caller))
    for user, misfit in () if item.users is None else _user_steps(item.users, caller):
        so_far = replace(so_far, users=user)
        yield _CallerStep(so_far, misfit)
    so_far = replace(so_far, networks=item.networks)
    yield _CallerStep(so_far, network_misfit(item, caller))
    yield _CallerStep(replace(so_far, anonymous=item.anonymous), anonymous_misfit())


def _user_steps(item: UserItem, caller: Caller) -> Iterator[tuple[UserItem, str]]:
    so_far = UserItem()
    yield so_far, user_misfit()
    demands: list[tuple[Callable[[UserItem, Caller], str], dict[str, object]]] = [
        (issuer_misfit, {"issuer": item.issuer}),
        (subject_misfit, {"subjects": item.subjects}),
        (scope_misfit, {"scopes": item.scopes}),
        (role_misfit, {"roles": item.roles}),
        (group_misfit, {"groups": item.groups}),
    ]
    for misfit, fields in demands:
        so_far = replace(so_far, **fields)
        yield so_far, misfit(item, caller)
    for number, (name, _) in enumerate(item.claims, 1):
        yield replace(so_far, claims=item.claims[:number]), claim_misfit(name)
    if item.actors:
        yield replace(so_far, claims=item.claims, actors=item.actors), actor_misfit(item, caller)
