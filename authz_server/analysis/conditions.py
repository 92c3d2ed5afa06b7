"""What a linter finds in the conditions of one rule."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from authz_server.analysis.attributes import Attribute, constant_of, parts_of
from authz_server.analysis.truth import Outcomes, outcomes
from authz_server.policy.conditions.checked import Expr, Parsed
from authz_server.policy.conditions.environment import DYNAMIC, MAPS
from authz_server.policy.conditions.reads import chain, dotted
from authz_server.policy.plan import CallerItem, Expression, Rule

_REMEMBERED = 4096
"""Many rules have the same condition."""
_MAY_BE_MISSING = frozenset((*MAPS, *DYNAMIC)) - {"path"}


def what_it_comes_to(rule: Rule, expression: Expression) -> Outcomes:
    """All that a condition of a rule can come to, for requests that fit its `to` and `from`."""
    given: dict[Attribute, Sequence[Any]] = {}
    operations = rule.operations or ()
    if operations and all(item.methods for item in operations):
        given["request", ("method",)] = list(dict.fromkeys(method for item in operations for method in item.methods))
    present = {"request"}
    callers = rule.callers or ()
    for message, has in (("user", has_user), ("workload", has_workload)):
        if callers and all(map(has, callers)):
            present.add(message)
            given[f"has_{message}", ()] = [True]
        elif callers and all(item.anonymous for item in callers):
            given[f"has_{message}", ()] = [False]
    issuers = [item.users.issuer for item in callers if item.users is not None and item.users.issuer is not None]
    if len(issuers) == len(callers) and issuers:
        given["user", ("issuer",)] = list(dict.fromkeys(issuers))
    chosen = tuple([(attribute, tuple(values)) for attribute, values in given.items()])
    return _outcomes(expression, chosen, frozenset(present))


@lru_cache(_REMEMBERED)
def _outcomes(
    expression: Expression, given: tuple[tuple[Attribute, tuple[Any, ...]], ...], present: frozenset[str]
) -> Outcomes:
    return outcomes(expression, dict(given), present)


def has_user(item: CallerItem) -> bool:
    """Whether all callers of an item have a user."""
    return item.users is not None or (bool(item.any_of) and all(map(has_user, item.any_of)))


def has_workload(item: CallerItem) -> bool:
    """Whether all callers of an item have a workload."""
    return bool(item.workloads) or (bool(item.any_of) and all(map(has_workload, item.any_of)))


@lru_cache(_REMEMBERED)
def unguarded_negations(expression: Expression) -> tuple[str, ...]:
    """The attributes that must not be something, and may be missing, which the condition does not ask about."""
    expr = Parsed(expression.ast).expr
    negated = list(dict.fromkeys(_negated(expr, negated=False)))
    guarded = set(_guarded(expr)) if negated else ()
    return tuple([_text(found) for found in negated if found not in guarded])


def _guarded(expr: Expr) -> Iterator[Attribute]:
    """What the condition asks whether it is there."""
    for part in parts_of(expr):
        if part.HasField("select_expr") and part.select_expr.test_only and (found := chain(part)) is not None:
            yield found
        elif part.call_expr.function == "@in":
            key, container = constant_of(part.call_expr.args[0]), chain(part.call_expr.args[1])
            if isinstance(key, str) and container is not None:
                yield container[0], (*container[1], key)


def _negated(expr: Expr, *, negated: bool) -> Iterator[Attribute]:
    call = expr.call_expr
    if not expr.HasField("call_expr"):
        return
    if call.function == "!_":
        yield from _negated(call.args[0], negated=not negated)
    elif call.function in ("_&&_", "_||_"):
        for argument in call.args:
            yield from _negated(argument, negated=negated)
    elif (call.function == "_!=_") is not negated and call.function in ("_!=_", "_==_"):
        yield from _compared(call.args)
    elif call.function == "@in" and negated:
        yield from _compared(call.args[:1])


def _compared(arguments: Sequence[Expr]) -> Iterator[Attribute]:
    for argument in arguments:
        found = chain(argument)
        if found is not None and found[0] in _MAY_BE_MISSING and found[1]:
            yield found


def _text(attribute: Attribute) -> str:
    variable, keys = attribute
    written = dotted(keys)
    if written.count(".") == len(keys) and variable not in ("request.headers", "request.query"):
        return f"{variable}{written}"
    return variable + "".join(f'["{key}"]' for key in keys)
