"""The codes of what a linter finds, which rules may accept by name."""

from enum import StrEnum


class Finding(StrEnum):
    """One kind of finding; the codes are stable."""

    ALWAYS_HOLDS = "always_holds"
    COVERED = "covered"
    EXPIRED = "expired"
    NEEDLESS_ACCEPTANCE = "needless_acceptance"
    NEVER_HOLDS = "never_holds"
    NOBODY_FITS = "nobody_fits"
    OPEN_TO_ANYONE = "open_to_anyone"
    SHADOWED = "shadowed"
    UNGUARDED_CALLER = "unguarded_caller"
    UNGUARDED_NEGATION = "unguarded_negation"
    UNREACHABLE_HOST = "unreachable_host"
    UNREACHABLE_PATH = "unreachable_path"
    UNUSED_ROLE = "unused_role"
    WIDE_GRANT = "wide_grant"


OF_RULES = tuple(code.value for code in Finding if code not in (Finding.NEEDLESS_ACCEPTANCE, Finding.UNUSED_ROLE))
"""Those that a rule can accept."""
