"""How strongly a user must have authenticated (RFC 9470)."""

from authz_server.model import Answer, HeaderChange, User
from authz_server.policy.plan import RequiresItem

CLOCK_SKEW_S = 60.0
"""How far `auth_time` may lie ahead of our clock."""


class Requirements:
    """What one rule requires of the user's authentication, and the challenge for those who lack it."""

    def __init__(self, item: RequiresItem) -> None:
        self._item = item
        self.challenge = Answer(headers=(HeaderChange("www-authenticate", _challenge(item)),))

    def lacking(self, user: User | None, now: float) -> str | None:
        """The first thing that the user lacks, for operators; None where nothing is. `now` in seconds since 1970."""
        if user is None:
            return "there is no user"
        item, claims = self._item, user.claims
        if item.acr and claims.get("acr") not in item.acr:
            return "`acr` is not one of those that are required"
        methods = claims.get("amr")
        if item.amr and not set(item.amr) <= set(filter(_is_text, methods if isinstance(methods, list) else [methods])):
            return "`amr` has not all that is required"
        if item.max_auth_age_s is not None and not _is_recent(claims.get("auth_time"), now, item.max_auth_age_s):
            return "the authentication (`auth_time`) is too long ago, or its time is not known"
        if item.bound_token and not user.bound:
            return "the token is not bound to the caller"
        return None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_recent(auth_time: object, now: float, max_age_s: float) -> bool:
    if isinstance(auth_time, bool) or not isinstance(auth_time, int | float):
        return False
    # Compared and not subtracted: a number of any size can be compared with a float.
    return now - max_age_s <= auth_time <= now + CLOCK_SKEW_S


def _challenge(item: RequiresItem) -> str:
    """RFC 9470 section 3."""
    parts = ['Bearer error="insufficient_user_authentication"']
    if item.bound_token:
        parts.append('error_description="The token must be bound to a key of the caller."')
    if item.acr:
        parts.append(f'acr_values="{" ".join(item.acr)}"')
    if item.max_auth_age_s is not None:
        parts.append(f'max_age="{item.max_auth_age_s:.0f}"')
    return ", ".join(parts)
