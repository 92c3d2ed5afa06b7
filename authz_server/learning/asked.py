"""What a recorded request asks for, if a policy can learn from it."""

from msgspec import Struct

from authz_server.errors import Reason, Refused
from authz_server.identity.spiffe import SCHEME, InvalidSpiffeId, parse_spiffe_id
from authz_server.learning.oddities import oddity
from authz_server.model import Path
from authz_server.policy.compiler import KnownNames
from authz_server.policy.patterns import PatternError, parse_host_pattern
from authz_server.policy.values import is_grpc_call, is_name
from authz_server.replay.recorded import Facts, Recorded
from authz_server.request.path import canonical_path

_LEARNABLE = frozenset({Reason.ALLOWED, Reason.NO_RULE_ALLOWS, Reason.UNAUTHENTICATED})
"""The reasons of what was allowed, and of what only lacked a rule that allows it."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UPGRADES = frozenset({"", "websocket"})


class LeftOut(Exception):
    """Nothing is learned from a record; `why` is a stable code."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Caller(Struct, frozen=True):
    """Who calls, by what rules of a first policy tell apart."""

    workload: str | None
    """SPIFFE ID."""
    issuer: str | None
    """Whose user; None where there is no user."""
    actor: str | None
    """Who acts for the user."""

    @property
    def anonymous(self) -> bool:
        """Whether it is neither a workload nor a user."""
        return self.workload is None and self.issuer is None


class Asked(Struct, frozen=True):
    """One request. Equal ones differ in nothing that a first policy could say."""

    service: str
    caller: Caller
    subject: str | None
    method: str
    host: str
    path: Path
    path_text: str
    """As sent."""
    is_grpc: bool
    """It is a gRPC call."""
    upgrade: str


def asked_by(record: Recorded, known: KnownNames | None, *, allow_anonymous: bool) -> Asked:
    """What a record asks for; with `known`, callers that the configuration does not have are left out.

    Raises LeftOut, and Undecidable for a record that does not say all of the request.
    """
    if record.type == "decision" and record.decision == "deny":
        raise LeftOut("denied")
    if record.would_deny and record.reason not in _LEARNABLE:
        raise LeftOut(record.reason or "denied")
    facts = Facts(record)
    user = record.user
    caller = Caller(record.workload, None if user is None else user.issuer, record.actor)
    if not all(text is None or _is_writable(text) for text in (caller.actor, None if user is None else user.subject)):
        raise LeftOut("not_expressible")
    if caller.actor is not None and not _is_exact(caller.actor):
        raise LeftOut("not_expressible")
    _check_caller(caller, known)
    if caller.anonymous and not allow_anonymous:
        raise LeftOut("no_identity")
    try:
        path = canonical_path(facts.path, allow_empty=facts.method == "CONNECT").path
    except Refused as error:
        raise LeftOut("several_readings") from error
    upgrade = str(facts.traits.get("upgrade", ""))
    _check_operation(facts, path, upgrade)
    return Asked(
        record.service or "",
        caller,
        None if user is None else user.subject,
        facts.method,
        facts.host,
        path,
        facts.path,
        facts.traits.get("grpc") == "call",
        upgrade,
    )


def _is_writable(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()


def _is_exact(actor: str) -> bool:
    """Whether a rule that names the actor means it alone: issuers write what they like, and some of it is a pattern."""
    if not actor.startswith(SCHEME):
        return True
    try:
        parse_spiffe_id(actor)
    except InvalidSpiffeId:
        return False
    return True


def _check_caller(caller: Caller, known: KnownNames | None) -> None:
    if caller.issuer is not None and known is not None and caller.issuer not in known.issuers:
        raise LeftOut("unknown_issuer")
    if caller.workload is not None:
        try:
            domain = parse_spiffe_id(caller.workload).trust_domain
        except InvalidSpiffeId as error:
            raise LeftOut("unreadable") from error
        if known is not None and domain not in known.trust_domains:
            raise LeftOut("unknown_trust_domain")


def _check_operation(facts: Facts, path: Path, upgrade: str) -> None:
    is_grpc = facts.traits.get("grpc") == "call"
    if facts.method not in _METHODS or (is_grpc and facts.method != "POST"):
        raise LeftOut("unusual_method")
    if upgrade not in _UPGRADES:
        raise LeftOut("unusual_upgrade")
    if oddity(path) is not None:
        raise LeftOut("looks_like_attack")
    if is_grpc and not is_grpc_call(*path.segments):
        raise LeftOut("not_expressible")
    try:
        parse_host_pattern(facts.host)
    except PatternError as error:
        raise LeftOut("unusual_host") from error
    if "*" in facts.host:
        raise LeftOut("unusual_host")
    if facts.record.service is None:
        raise LeftOut("no_service")
    if not all(map(is_name, facts.record.service.split("/"))):
        # It becomes the path of a file.
        raise LeftOut("unreadable")
