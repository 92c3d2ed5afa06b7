"""Which rules a case has to do with: those that fit it by `from` and `to`, whatever their conditions say."""

from collections.abc import Iterator

from msgspec import Struct

from authz_server.errors import Refused
from authz_server.model import Decision
from authz_server.policy.callers import Caller
from authz_server.policy.conditions import Evaluation
from authz_server.policy.every_reading import operations_of
from authz_server.policy.index import Candidate, ServiceIndex
from authz_server.policy.judging import SERVICE_EXTENSION
from authz_server.policy.operation_index import OperationIndex
from authz_server.policy.plan import Service
from authz_server.request.operation import Operation, canonical_operation
from authz_server.testing.engine import Engine
from authz_server.testing.runner import Outcome


class Facts(Struct, frozen=True):
    """A case that the rules of a service have to do with."""

    outcome: Outcome
    service: Service
    index: ServiceIndex
    caller: Caller
    evaluations: tuple[Evaluation, ...]
    """One for each reading of the path."""

    @property
    def decision(self) -> Decision:
        """What came of it."""
        return self.outcome.decision

    def fitting(self, index: ServiceIndex) -> Iterator[tuple[Candidate, Evaluation]]:
        """The candidates of an index that fit in some reading, those of rules in audit included."""
        for operations in _rules_that_apply(index):
            for evaluation in self.evaluations:
                for candidate in index.fitting(operations, evaluation.operation, self.caller):
                    yield candidate, evaluation

    def concerns(self, index: ServiceIndex) -> bool:
        """Whether any rule of an index can have to do with the outcome."""
        return any(
            index.fitting(operations, evaluation.operation, self.caller)
            for operations in (*_rules_that_apply(index), index.allow_with_user)
            for evaluation in self.evaluations
        )

    def rules(self) -> set[str]:
        """The ids of all rules that can have to do with the outcome."""
        return {
            candidate.rule.id
            for operations in (*_rules_that_apply(self.index), self.index.allow_with_user)
            for evaluation in self.evaluations
            for candidate in self.index.fitting(operations, evaluation.operation, self.caller)
        }


def facts_of(outcome: Outcome, engine: Engine, services: dict[str, Service]) -> Facts | None:
    """What a case has to do with rules; None where no rule can matter. `services` are those of the plan by name."""
    decision, request = outcome.decision, outcome.case.request
    try:
        name = decision.service or _audited(outcome, engine)
        if name is None:
            return None
        service = services[name]
        operations: list[Operation] = [operation for operation, _ in operations_of(request, lenient=service.lenient)]
    except Refused:
        return None
    index = engine.policies.named(service.name)
    who = (decision.workload, decision.user, decision.time, request, engine.max_body)
    evaluations = tuple([Evaluation(operation, *who) for operation in operations])
    caller = Caller(decision.workload, decision.user, operations[0].client_ip)
    return Facts(outcome, service, index, caller, evaluations)


def _audited(outcome: Outcome, engine: Engine) -> str | None:
    """The service in audit of a request that was refused before its rules were asked. Raises Refused.

    Whether a bad credential is refused there depends on its guardrails.
    """
    request = outcome.case.request
    found = engine.policies.service(canonical_operation(request), request.extensions.get(SERVICE_EXTENSION))
    return found.name if found is not None and found.audit else None


def _rules_that_apply(index: ServiceIndex) -> list[OperationIndex[Candidate]]:
    indexes = [index.deny, index.allow]
    return indexes if index.rehearsal is None else [*indexes, index.rehearsal.deny, index.rehearsal.allow]
