"""Rules that are a little wrong: each is one slip of somebody who edits the rule."""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from authz_server.documents.problem import Position
from authz_server.policy.conditions import ConditionCompiler, ConditionError
from authz_server.policy.plan import EMPTY_ANSWER, CallerItem, OperationItem, Rule, TimesItem, UserItem
from authz_server.testing.sources import RuleSource


class Mutant(Struct, frozen=True):
    """One slip."""

    rule: str
    position: Position
    change: str
    """What is wrong, in words: `without the rule`."""
    changed: Rule | None
    """None where the rule is gone."""


class _Change(Struct, frozen=True):
    """A value that is a little wrong; `what` is what it lacks."""

    what: str
    value: Any


def mutants_of(rule: Rule, source: RuleSource, compiler: ConditionCompiler) -> Iterator[Mutant]:
    """All of a rule: gone, inverted, and without each of its demands and alternatives."""

    def mutant(position: Position, change: str, changed: Rule | None) -> Mutant:
        return Mutant(rule.id, position, change, changed)

    yield mutant(source.position(), "without the rule", None)
    if not rule.guardrail:  # of which nobody can write that it allows
        inverted = replace(rule, answer=EMPTY_ANSWER, requires=None)
        effect = "allow" if rule.effect == "deny" else "deny"
        yield mutant(source.position(), f"with `effect: {effect}`", replace(inverted, effect=effect))
    for index, change in _changed_items(rule.callers or (), _weaker_callers):
        place, number = source.position("from", index), index + 1
        yield mutant(place, f"`from`, item {number}: {change.what}", replace(rule, callers=change.value))
    for index, change in _changed_items(rule.operations or (), _weaker_operations):
        place, number = source.position("to", index), index + 1
        yield mutant(place, f"`to`, item {number}: {change.what}", replace(rule, operations=change.value))
    yield from _conditions(rule, source, compiler)
    if rule.answer != EMPTY_ANSWER:
        yield mutant(source.position("answer"), "without `answer`", replace(rule, answer=EMPTY_ANSWER))
    if rule.requires is not None:
        yield mutant(source.position("requires"), "without `requires`", replace(rule, requires=None))
    times = rule.times or TimesItem()
    if times.schedule is not None:
        changed = replace(rule, times=replace(times, schedule=None))
        yield mutant(source.position("schedule"), "without `schedule`", changed)
    if times.begins is not None or times.ends is not None:
        changed = replace(rule, times=replace(times, begins=None, ends=None))
        yield mutant(source.position("valid"), "without `valid`", changed)


def _conditions(rule: Rule, source: RuleSource, compiler: ConditionCompiler) -> Iterator[Mutant]:
    parts = source.conditions
    for number, part in enumerate(parts):
        others = parts[:number] + parts[number + 1 :]
        for change, conditions in (
            ("without this condition", others),
            ("with this condition inverted", [*others, f"!({part}\n)"]),
        ):
            try:
                condition = source.condition(compiler, conditions)
            except ConditionError:
                # What cannot be written is no slip.
                continue
            changed = replace(rule, condition=condition)
            yield Mutant(rule.id, source.condition_position(number), change, changed)


def _changed_items(items: tuple[Any, ...], weaker: Callable[[Any], Iterator[_Change]]) -> Iterator[tuple[int, _Change]]:
    """Lists of items that lack one of them, or have one that is weaker; with its number."""
    for index, item in enumerate(items):
        before, behind = items[:index], items[index + 1 :]
        if len(items) > 1:
            yield index, _Change("without the item", before + behind)
        for change in weaker(item):
            yield index, _Change(change.what, (*before, change.value, *behind))


def _weaker_callers(item: CallerItem) -> Iterator[_Change]:
    yield from _without_field(item, "workloads", "networks")
    if item.anonymous:
        yield _Change("without `anonymous`", replace(item, anonymous=False))
    if item.users is not None:
        yield _Change("without `users`", replace(item, users=None))
        for change in _weaker_users(item.users):
            yield _Change(change.what, replace(item, users=change.value))
    if item.any_of:
        yield _Change("without `roles`", replace(item, any_of=()))
        for _, change in _changed_items(item.any_of, _weaker_callers):
            yield _Change(f"in its roles {change.what}", replace(item, any_of=change.value))


def _weaker_users(users: UserItem) -> Iterator[_Change]:
    if users.issuer is not None:
        yield _Change("without `issuer`", replace(users, issuer=None))
    yield from _without_field(users, "subjects", "scopes", "roles", "groups", "actors")
    for index, (name, _) in enumerate(users.claims):
        claims = users.claims[:index] + users.claims[index + 1 :]
        yield _Change(f"without the claim `{name}`", replace(users, claims=claims))


def _weaker_operations(item: OperationItem) -> Iterator[_Change]:
    yield from _without_field(item, "methods", "paths", "hosts", "ports")
    if item.grpc is not None:
        yield _Change("without `grpc`", replace(item, grpc=None))
        for change in _without_field(item.grpc, "methods"):
            yield _Change(change.what, replace(item, grpc=change.value))


def _without_field(item: Any, *fields: str) -> Iterator[_Change]:  # noqa: ANN401 - any item of a plan
    """The item without one of its lists, or without one value of a list of several."""
    for field in fields:
        values = getattr(item, field)
        if values:
            yield _Change(f"without `{field}`", replace(item, **{field: ()}))
        for index, value in enumerate(values if len(values) > 1 else ()):
            yield _Change(f"without `{value}`", replace(item, **{field: values[:index] + values[index + 1 :]}))
