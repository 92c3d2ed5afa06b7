"""What a route may demand of the policies: a revision of at least some number."""

import re

MIN_REVISION_EXTENSION = "min_revision"
"""The route's `context_extensions` key that says which number the policies have at least."""
_NUMBER = re.compile("[1-9][0-9]{0,15}", re.ASCII)


def unmet_demand(wanted: str, number: int | None) -> str | None:
    """Why policies of this number are not what a route wants; None where they are."""
    if not _NUMBER.fullmatch(wanted):
        return f"the route's `{MIN_REVISION_EXTENSION}` is no number"
    if number is None:
        return f"the route demands revision {wanted}, and the policies have no number"
    if number < int(wanted):
        return f"the route demands revision {wanted}, and the policies are of {number}"
    return None
