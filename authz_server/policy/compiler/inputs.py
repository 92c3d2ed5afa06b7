"""What the rules of a service read, for the record of a decision."""

from collections.abc import Iterable, Iterator

from authz_server.policy.plan import CallerItem, RequiresItem, Rule, UserItem


def inputs_of(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Sorted names as in `Expression.reads`, with what `from` reads of users and without captures."""
    names = {name for rule in rules for name in _reads(rule)}
    return tuple(sorted(name for name in names if not name.startswith("path.")))


def set_headers_of(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Sorted names of the headers that allow rules set in place of the client's; rules in audit set nothing."""
    set_headers = [header for rule in rules if not rule.audit for header in rule.answer.set_headers]
    return tuple(sorted({header.name for header in set_headers if header.action == "set"}))


def _reads(rule: Rule) -> Iterator[str]:
    for item in rule.callers or ():
        yield from _read_of_caller(item)
    if any(item.ports for item in rule.operations or ()):
        yield "destination.port"
    if rule.requires is not None:
        yield from _read_of_requirements(rule.requires)
    for expression in rule.expressions():
        yield from expression.reads


def _read_of_requirements(requires: RequiresItem) -> Iterator[str]:
    if requires.acr:
        yield "user.claims.acr"
    if requires.amr:
        yield "user.claims.amr"
    if requires.max_auth_age_s is not None:
        yield "user.claims.auth_time"


def _read_of_caller(item: CallerItem) -> Iterator[str]:
    if item.users is not None:
        yield from _read_of_user(item.users)
    for nested in item.any_of:
        yield from _read_of_caller(nested)


def _read_of_user(users: UserItem) -> Iterator[str]:
    if users.scopes:
        yield "user.scopes"
    if users.roles:
        yield "user.roles"
    if users.groups:
        yield "user.groups"
    for name, _ in users.claims:
        yield f"user.claims.{name}"
