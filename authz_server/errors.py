"""The reasons for which a request is allowed or denied, and what each means on the wire.

The only module that maps reasons to HTTP and gRPC codes. The words are the same in answers, audit records,
metrics and documentation, and they are stable.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple


class GrpcCode(IntEnum):
    """The gRPC status codes in use (https://grpc.io/docs/guides/status-codes/)."""

    OK = 0
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Reason(StrEnum):
    """Why a decision is what it is; `ALLOWED` is the only one that allows."""

    ALLOWED = "allowed"
    MALFORMED_REQUEST = "malformed_request"
    AMBIGUOUS_PATH = "ambiguous_path"
    BAD_HOST = "bad_host"
    BAD_METHOD = "bad_method"
    HEADER_CONFLICT = "header_conflict"
    BODY_INCOMPLETE = "body_incomplete"
    TOKEN_INVALID = "token_invalid"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_REVOKED = "token_revoked"
    PROOF_INVALID = "proof_invalid"
    UNAUTHENTICATED = "unauthenticated"
    STEP_UP_REQUIRED = "step_up_required"
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    WORKLOAD_REFUSED = "workload_refused"
    NO_SERVICE = "no_service"
    DENIED_BY_RULE = "denied_by_rule"
    DENY_RULE_ERROR = "deny_rule_error"
    NO_RULE_ALLOWS = "no_rule_allows"
    OVERLOADED = "overloaded"
    NOT_READY = "not_ready"
    DEADLINE = "deadline"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    INTERNAL_ERROR = "internal_error"


class Outcome(NamedTuple):
    """What a reason means outside: codes, and the short sentence that a client may read."""

    http_status: int
    grpc_code: GrpcCode
    title: str


_BAD_REQUEST = Outcome(400, GrpcCode.INVALID_ARGUMENT, "The request cannot be read in one way.")
_FORBIDDEN = Outcome(403, GrpcCode.PERMISSION_DENIED, "Access denied.")
_BAD_TOKEN = Outcome(401, GrpcCode.UNAUTHENTICATED, "The access token is not valid.")
_UNAVAILABLE = Outcome(503, GrpcCode.UNAVAILABLE, "Authorization is not available at the moment.")

OUTCOMES: dict[Reason, Outcome] = {
    Reason.ALLOWED: Outcome(200, GrpcCode.OK, "Allowed."),
    Reason.MALFORMED_REQUEST: _BAD_REQUEST,
    Reason.AMBIGUOUS_PATH: _BAD_REQUEST,
    Reason.BAD_HOST: _BAD_REQUEST,
    Reason.BAD_METHOD: _BAD_REQUEST,
    Reason.HEADER_CONFLICT: _BAD_REQUEST,
    Reason.BODY_INCOMPLETE: _FORBIDDEN,
    Reason.TOKEN_INVALID: _BAD_TOKEN,
    Reason.TOKEN_EXPIRED: _BAD_TOKEN,
    Reason.TOKEN_REVOKED: _BAD_TOKEN,
    Reason.PROOF_INVALID: Outcome(401, GrpcCode.UNAUTHENTICATED, "The proof of possession is not valid."),
    Reason.UNAUTHENTICATED: Outcome(401, GrpcCode.UNAUTHENTICATED, "This needs an access token."),
    Reason.STEP_UP_REQUIRED: Outcome(401, GrpcCode.UNAUTHENTICATED, "This needs a stronger authentication."),
    Reason.ISSUER_UNAVAILABLE: _UNAVAILABLE,
    Reason.WORKLOAD_REFUSED: _FORBIDDEN,
    Reason.NO_SERVICE: _FORBIDDEN,
    Reason.DENIED_BY_RULE: _FORBIDDEN,
    Reason.DENY_RULE_ERROR: _FORBIDDEN,
    Reason.NO_RULE_ALLOWS: _FORBIDDEN,
    Reason.OVERLOADED: _UNAVAILABLE,
    Reason.NOT_READY: _UNAVAILABLE,
    Reason.DEADLINE: _UNAVAILABLE,
    Reason.AUDIT_UNAVAILABLE: _UNAVAILABLE,
    Reason.INTERNAL_ERROR: Outcome(500, GrpcCode.INTERNAL, "Authorization failed."),
}

# What a service in audit lets pass: what its rules would deny, and users whose credential fails. Nothing else may.
AUDITABLE = frozenset(
    {
        Reason.TOKEN_INVALID,
        Reason.TOKEN_EXPIRED,
        Reason.TOKEN_REVOKED,
        Reason.PROOF_INVALID,
        Reason.ISSUER_UNAVAILABLE,
        Reason.UNAUTHENTICATED,
        Reason.STEP_UP_REQUIRED,
        Reason.BODY_INCOMPLETE,
        Reason.DENIED_BY_RULE,
        Reason.DENY_RULE_ERROR,
        Reason.NO_RULE_ALLOWS,
    }
)

# Failures of ours, which an operator may prefer to be errors to the proxy rather than denials. Nothing that a
# credential or a policy says is among them: `issuer_unavailable` is not, for clients choose whose token they show; nor
# is `audit_unavailable`, for a policy says that nothing passes without its record.
FAILURES = frozenset({Reason.OVERLOADED, Reason.NOT_READY, Reason.DEADLINE, Reason.INTERNAL_ERROR})

# Outside, these look like `token_invalid`: a client must not learn which check a token failed.
PUBLIC_REASON: dict[Reason, Reason] = {
    Reason.TOKEN_EXPIRED: Reason.TOKEN_INVALID,
    Reason.TOKEN_REVOKED: Reason.TOKEN_INVALID,
}


class Refused(Exception):
    """A request that is denied before any rule is asked.

    `detail` is for operators: it says which check failed, and holds no secret and no client text.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
