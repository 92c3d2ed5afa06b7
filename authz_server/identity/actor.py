"""Who acts on behalf of a user, by the token's `act` (RFC 8693 section 4.1)."""

from collections.abc import Mapping
from typing import Any

from authz_server.errors import Reason, Refused
from authz_server.identity.spiffe import SCHEME, InvalidSpiffeId, parse_spiffe_id
from authz_server.model import Actor


def actor_of(claims: Mapping[str, Any], issuer: str) -> Actor | None:
    """The current actor, which is the outermost; None where nobody acts for the user. `issuer` is the token's.

    Actors inside it acted before, and are no ground for decisions. Raises Refused (`token_invalid`).
    """
    if "act" not in claims:
        return None
    act = _object(claims["act"])
    subject = act.get("sub")
    if not isinstance(subject, str) or not subject:
        raise _invalid("its `act` has no `sub` that is a text")
    earlier = act
    while "act" in earlier:
        earlier = _object(earlier["act"])
    if subject.startswith(SCHEME):
        try:
            return Actor(subject, parse_spiffe_id(subject))
        except InvalidSpiffeId as error:
            raise _invalid(f"the `sub` of its `act` is no SPIFFE ID: {error}") from error
    # The same subject is somebody else at another issuer. SPIFFE IDs are the same everywhere.
    if act.get("iss", issuer) != issuer:
        raise _invalid("its `act` names an actor of another issuer")
    return Actor(subject)


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _invalid("its `act` is not an object")
    return value


def _invalid(fault: str) -> Refused:
    return Refused(Reason.TOKEN_INVALID, f"the token is not acceptable: {fault}")
