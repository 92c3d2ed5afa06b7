"""What a client reads when it is denied: nothing that it does not know, in the form that it asked for."""

from html import escape

import msgspec

from authz_server.errors import OUTCOMES, PUBLIC_REASON, GrpcCode, Reason
from authz_server.model import BodyFormat, Decision, HeaderChange

RETRY_AFTER_S = "1"
"""How long a client should wait after a denial that says `unavailable` (RFC 9110 section 10.2.3)."""

CHALLENGE = "www-authenticate"
_ERRORS = {Reason.TOKEN_INVALID: "invalid_token", Reason.PROOF_INVALID: "invalid_dpop_proof"}
"""RFC 6750 section 3.1, RFC 9449 section 7.1."""
_PLAIN = "text/plain; charset=utf-8"
_CONTENT_TYPES: dict[BodyFormat, str] = {
    "problem": "application/problem+json",
    "page": "text/html; charset=utf-8",
    "plain": _PLAIN,
    "grpc": _PLAIN,
}
# The page needs nothing but its own text, and must not be framed to trick somebody.
_PAGE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def denial_headers(decision: Decision, reason: Reason, status: int, proofs: str) -> list[tuple[str, str]]:
    """The headers of a denial, but for those that its rule words; `proofs` are the algorithms of DPoP proofs."""
    plain = decision.answer.body is not None
    headers = [
        ("content-type", _PLAIN if plain else _CONTENT_TYPES[decision.body_format]),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ]
    if decision.body_format == "page" and not plain:
        headers.append(("content-security-policy", _PAGE_POLICY))
    if status == 401:
        headers.append((CHALLENGE, _challenge(decision, reason, proofs)))
    if OUTCOMES[reason].grpc_code is GrpcCode.UNAVAILABLE:
        headers.append(("retry-after", RETRY_AFTER_S))
    if decision.body_format == "grpc" and decision.answer.status is None:
        # Else Envoy makes the code of the HTTP status, of which 400 and 500 are others than ours.
        headers.append(("grpc-status", str(int(OUTCOMES[reason].grpc_code))))
    named = {header.name for header in decision.answer.headers}
    return [(name, value) for name, value in headers if name not in named]


def denial_body(decision: Decision, reason: Reason, status: int, decision_id: str) -> str:
    """The body of a denial: the rule's, else by the client's form."""
    if decision.answer.body is not None:
        return decision.answer.body
    facts = {
        "title": OUTCOMES[reason].title,
        "status": status,
        "reason": PUBLIC_REASON.get(reason, reason),
        "decision_id": decision_id,
    }
    if decision.answer.hint is not None:
        facts["detail"] = decision.answer.hint
    match decision.body_format:
        case "problem":
            # RFC 9457 section 3.
            return msgspec.json.encode({"type": "about:blank", **facts}).decode()
        case "page":
            return _page({name: escape(str(value)) for name, value in facts.items()})
        case "plain" | "grpc":
            sentences = " ".join([str(facts[name]) for name in ("title", "detail") if name in facts])
            return f"{sentences} (reason {facts['reason']}, decision {decision_id})"


def _page(facts: dict[str, str]) -> str:
    detail = f"<p>{facts['detail']}</p>\n" if "detail" in facts else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{facts["title"]}</title>\n'
        f"<h1>{facts['title']}</h1>\n{detail}"
        f"<p>Status {facts['status']}, reason {facts['reason']}, decision {facts['decision_id']}.</p>\n</html>\n"
    )


def rule_headers(decision: Decision, proofs: str) -> list[HeaderChange]:
    """The headers of a denial that its rule words; a challenge also for clients with DPoP proofs."""
    return [
        HeaderChange(header.name, _for_both(header.value, decision.with_proof, proofs), header.action)
        if proofs and decision.reason is Reason.STEP_UP_REQUIRED and header.name == CHALLENGE
        else header
        for header in decision.answer.headers
    ]


def _challenge(decision: Decision, reason: Reason, proofs: str) -> str:
    """The challenge of a 401: an error code only where a credential failed (RFC 6750 section 3.1)."""
    error = _ERRORS.get(PUBLIC_REASON.get(reason, reason))
    challenge = "Bearer" if error is None else f'Bearer error="{error}"'
    return _for_both(challenge, decision.with_proof, proofs) if proofs else challenge


def _for_both(bearer: str, with_proof: bool, proofs: str) -> str:
    """The challenges of both schemes; what is wrong stands in that of the client's scheme (RFC 9449 section 7.2)."""
    algorithms = f'algs="{proofs}"'
    _, _, parameters = bearer.partition(" ")
    if not with_proof:
        return f"{bearer}, DPoP {algorithms}"
    return f"DPoP {parameters}, {algorithms}" if parameters else f"DPoP {algorithms}"
