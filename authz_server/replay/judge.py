"""One recorded decision, made again on other policies: exactly what they would decide, or not at all."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from msgspec import Struct

from authz_server.errors import Reason, Refused
from authz_server.identity.spiffe import InvalidSpiffeId, parse_spiffe_id
from authz_server.model import Path, User, Workload
from authz_server.policy.decide import Verdict, decide
from authz_server.policy.every_reading import decide_every
from authz_server.policy.index import PolicyIndex, ServiceIndex
from authz_server.policy.plan import Plan, Service
from authz_server.policy.rehearse import Rehearsed, rehearse
from authz_server.replay.candidates import RecordedCaller, RecordedService, names_of
from authz_server.replay.evaluation import RecordedEvaluation, RecordedRuntime
from authz_server.replay.recorded import Facts, NotRecorded, Recorded, Undecidable
from authz_server.replay.unknowns import RecordedCertificate, RecordedOperation, RecordedUser
from authz_server.request.operation import Operation
from authz_server.request.path import canonical_path
from authz_server.request.readings import has_several, lenient_target, readings

MAX_REMEMBERED = 100_000


class Outcome(Struct, frozen=True):
    """A decision, as far as it is compared."""

    allowed: bool
    reason: str
    rule: str | None = None
    would_deny: bool = False
    """It is a denial that audit lets pass."""


class Asked(Struct, frozen=True):
    """A record's request at the service that decides it."""

    service: ServiceIndex
    caller: RecordedCaller
    evaluations: Sequence[RecordedEvaluation]
    """One for each reading of the path."""
    hows: Sequence[str]


class Judge:
    """Decides recorded requests on one set of policies."""

    def __init__(self, plan: Plan, identity_headers: Sequence[str] = ()) -> None:
        """`identity_headers` are those that no client may send, by the configuration."""
        self.plan = plan
        self._lasting = True
        """Whether what was decided last is the same at any time."""
        self.runtime = RecordedRuntime()
        self._index = PolicyIndex(plan, self.runtime, identity_headers)
        self._names = names_of(plan)
        self._memo: dict[tuple[object, ...], Outcome | Undecidable] = {}
        self._fleeting = frozenset(service.name for service in plan.services if _is_fleeting(service))
        self._services = {service.name: self._recorded(service.name) for service in plan.services}

    def outcome(self, record: Recorded) -> Outcome | Undecidable:
        """What `decide` finds, remembered for records that say the same; Undecidable is returned."""
        key = record.sameness()
        known = self._memo.get(key)
        if known is not None:
            return known
        self._lasting = True
        try:
            found: Outcome | Undecidable = self.decide(record)
        except Undecidable as error:
            found = error.with_traceback(None)
        if self._lasting:
            if len(self._memo) >= MAX_REMEMBERED:
                self._memo.clear()
            self._memo[key] = found
        return found

    def decide(self, record: Recorded) -> Outcome:
        """What the policies decide about the request of a record, at its time. Raises Undecidable."""
        facts = Facts(record)
        try:
            asked = self.asked(facts)
        except Refused as refusal:
            return Outcome(False, refusal.reason)
        came = facts.record.user is not None
        if len(asked.evaluations) == 1 and not asked.hows:
            [evaluation] = asked.evaluations
            verdict = decide(asked.service, evaluation.operation, asked.caller, evaluation, came)
        else:
            verdict = decide_every(asked.service, asked.caller, asked.evaluations, asked.hows, came)
        return _outcome(asked, verdict)

    def asked(self, facts: Facts) -> Asked:
        """The request, and who is asked. Raises Undecidable, and Refused where no rule is asked."""
        now = _moment(facts.record.time)
        workload, user = _workload(facts), _user(facts)
        path, strict = self._path(facts)
        operation = RecordedOperation(facts, path, strict=strict)
        service = self._service(facts, operation)
        if not strict and (service is None or not service.lenient):
            raise Refused(Reason.AMBIGUOUS_PATH, "the path has several readings")
        if service is None:
            raise Refused(Reason.NO_SERVICE, "no service has this host and path")
        self._lasting = service.name not in self._fleeting
        _check_headers(facts, service)
        caller = RecordedCaller(workload, user, operation.client_ip, self._names)
        if not service.lenient or not has_several(facts.path):
            return Asked(service, caller, [RecordedEvaluation(facts, operation, workload, user, now)], ())
        found = readings(facts.path)
        if not facts.traits.get("routed") and not self._index.speaks_for_all(
            self._found(operation, None) or service, cast("Operation", operation), [reading.path for reading in found]
        ):
            raise Refused(Reason.AMBIGUOUS_PATH, "the path is another service's in one of its readings")
        each = [RecordedOperation(facts, reading.path, strict=strict, several=True) for reading in found]
        evaluations = [RecordedEvaluation(facts, operation, workload, user, now) for operation in each]
        return Asked(service, caller, evaluations, [reading.how for reading in found])

    def _path(self, facts: Facts) -> tuple[Path, bool]:
        """The path, and whether it has one reading alone."""
        try:
            return canonical_path(facts.path, allow_empty=facts.method == "CONNECT").path, True
        except Refused:
            if not self._index.has_lenient:
                raise
            return lenient_target(facts.path).path, False

    def _service(self, facts: Facts, operation: RecordedOperation) -> ServiceIndex | None:
        named = None
        if facts.traits.get("routed"):
            named = facts.record.service
            if named is None:
                raise Undecidable("service_not_known")
        service = self._found(operation, named)
        return None if service is None else self._services[service.name]

    def _found(self, operation: RecordedOperation, named: str | None) -> ServiceIndex | None:
        return self._index.service(cast("Operation", operation), named)

    def _recorded(self, name: str) -> RecordedService:
        service = self._index.service(cast("Operation", None), name)
        assert service is not None  # noqa: S101 - each service of the plan is in the index
        return RecordedService.of(service)


def _is_fleeting(service: Service) -> bool:
    """Whether what is decided depends on the time, or on the id of the request."""
    reads = {name for rule in service.rules for expression in rule.expressions() for name in expression.reads}
    return bool(reads & {"now", "request.id"}) or any(
        rule.times is not None or (rule.requires is not None and rule.requires.max_auth_age_s is not None)
        for rule in service.rules
    )


def _moment(time: str) -> float:
    """The time of a record, in seconds since the epoch. Raises Undecidable."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        raise Undecidable("unreadable") from None


def recorded_outcome(record: Recorded) -> Outcome:
    """What was decided."""
    return Outcome(record.decision == "allow", record.reason or "", record.rule, bool(record.would_deny))


def _outcome(asked: Asked, verdict: Verdict) -> Outcome:
    service = asked.service
    rehearsed = rehearse(service, verdict, asked.caller, asked.evaluations) if service.audits else Rehearsed(verdict)
    reason, rule = rehearsed.verdict.reason, rehearsed.verdict.rule
    return Outcome(reason is Reason.ALLOWED or rehearsed.would_deny, reason, rule, rehearsed.would_deny)


def _workload(facts: Facts) -> Workload | None:
    record = facts.record
    if record.workload is None:
        return None
    try:
        identity = parse_spiffe_id(record.workload)
    except InvalidSpiffeId:
        raise Undecidable("unreadable") from None
    certificate = None if record.workload_by == "name" else cast("None", RecordedCertificate(facts))
    return Workload(identity, certificate, record.via, by_token=record.workload_by == "jwt_svid")


def _user(facts: Facts) -> User | None:
    user = facts.record.user
    return None if user is None else cast("User", RecordedUser(facts, user.issuer, user.subject))


def _check_headers(facts: Facts, service: ServiceIndex) -> None:
    """Headers whose names are those of protected ones but for underscores are refused. Raises NotRecorded."""
    protected = service.protected
    if any("_" in name for name in protected) or (protected and facts.traits.get("underscores")):
        raise NotRecorded("request.headers[*]")
