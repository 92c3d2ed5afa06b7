"""Compiles what rules require of the user's authentication."""

from authz_server.documents.suggest import quoted
from authz_server.documents.tree import Document, FieldPath
from authz_server.policy.compiler.names import Report
from authz_server.policy.plan import Effect, RequiresItem
from authz_server.policy.schema import Requires


def compile_requires(
    document: Document, path: FieldPath, requires: Requires | None, effect: Effect, report: Report
) -> RequiresItem | None:
    """The requirements of the rule at the path."""
    if requires is None:
        return None
    place = (*path, "requires")
    if effect == "deny":
        message, hint = f"{quoted('requires')} is not for deny rules", "an allow rule has it: without it nobody passes"
        report(document.problem(place, "contradiction", message, hint, key=True))
    if not requires.model_fields_set:
        hint = "it has `acr`, `amr`, `max_auth_age` and `bound_token`"
        report(document.problem(place, "empty_item", "`requires` without a field requires nothing", hint))
    return RequiresItem(
        acr=tuple(dict.fromkeys(requires.acr)),
        amr=tuple(dict.fromkeys(requires.amr)),
        max_auth_age_s=requires.max_auth_age,
        bound_token=requires.bound_token is not None,
    )
