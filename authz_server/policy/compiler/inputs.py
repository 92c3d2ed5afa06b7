"""What the rules of a service read, for the record of a decision."""

from collections.abc import Iterable, Iterator

from authz_server.policy.plan import AnswerItem, CallerItem, Expression, Rule, UserItem


def inputs_of(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Sorted names as in `Expression.reads`, with what `from` reads of users and without captures."""
    names = {name for rule in rules for name in _reads(rule)}
    return tuple(sorted(name for name in names if not name.startswith("path.")))


def set_headers_of(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Sorted names of the headers that allow rules set."""
    return tuple(sorted({name for rule in rules for name, _ in rule.answer.set_headers}))


def _reads(rule: Rule) -> Iterator[str]:
    for item in rule.callers or ():
        yield from _read_of_caller(item)
    if rule.condition is not None:
        yield from rule.condition.reads
    for expression in _expressions(rule.answer):
        yield from expression.reads


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


def _expressions(answer: AnswerItem) -> Iterator[Expression]:
    pairs = (*answer.set_headers, *answer.set_query, *answer.response_headers, *answer.metadata, *answer.headers)
    for value in (answer.body, answer.hint, *(value for _, value in pairs)):
        if isinstance(value, Expression):
            yield value
