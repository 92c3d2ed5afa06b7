"""What the answer of a deciding rule changes, computed for one request."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
from msgspec import Struct

from authz_server.model import Answer, HeaderAction, HeaderChange
from authz_server.policy.conditions import ConditionRuntime, Evaluation, EvaluationError, Program
from authz_server.policy.plan import AnswerItem, Expression, HeaderItem
from authz_server.policy.sendable import Place, fault

Text = str | Program
"""A constant, or a program that computes a text."""


class BoundHeader(NamedTuple):
    """A header of an answer."""

    name: str
    value: Text
    action: HeaderAction


class BoundAnswer(Struct, frozen=True):
    """A rule's answer with its expressions loaded. `constant` is set where nothing has to be computed."""

    constant: Answer | None
    item: AnswerItem
    remove_headers: tuple[str, ...] = ()
    set_headers: tuple[BoundHeader, ...] = ()
    set_query: tuple[tuple[str, Text], ...] = ()
    response_headers: tuple[BoundHeader, ...] = ()
    metadata: tuple[tuple[str, Text], ...] = ()
    headers: tuple[BoundHeader, ...] = ()
    body: Text | None = None
    hint: Text | None = None

    def compute(self, evaluation: Evaluation, captures: Mapping[str, str]) -> Answer:
        """The answer for one request. Raises EvaluationError where a value cannot be computed or sent."""
        if self.constant is not None:
            return self.constant
        headers = evaluation.operation.headers

        def text(value: Text) -> str:
            return value if isinstance(value, str) else value.text(evaluation, captures)

        answer = _computed(self, text)
        settled = tuple([change for each in answer.set_headers for change in _settled(each, headers.has(each.name))])
        return msgspec.structs.replace(answer, set_headers=settled)


def bind_answer(item: AnswerItem, runtime: ConditionRuntime, protected: frozenset[str] = frozenset()) -> BoundAnswer:
    """Load the expressions of an answer.

    `protected` are the names that no client may send to the upstream: those that the answer does not change are
    removed, and the others replace the client's, whatever the answer says about what is there.
    """

    def bind(value: str | Expression) -> Text:
        return value if isinstance(value, str) else runtime.load(value)

    def bind_all(values: tuple[tuple[str, str | Expression], ...]) -> tuple[tuple[str, Text], ...]:
        return tuple((name, bind(value)) for name, value in values)

    def bind_headers(headers: tuple[HeaderItem, ...]) -> tuple[BoundHeader, ...]:
        return tuple([BoundHeader(header.name, bind(header.value), header.action) for header in headers])

    changed = {header.name for header in item.set_headers}
    answer = BoundAnswer(
        constant=None,
        item=item,
        remove_headers=tuple(sorted(protected.union(item.remove_headers) - changed)),
        set_headers=tuple(
            [h._replace(action="set") if h.name in protected else h for h in bind_headers(item.set_headers)]
        ),
        set_query=bind_all(item.set_query),
        response_headers=bind_headers(item.response_headers),
        metadata=bind_all(item.metadata),
        headers=bind_headers(item.headers),
        body=None if item.body is None else bind(item.body),
        hint=None if item.hint is None else bind(item.hint),
    )
    if item.expressions() or any(header.action != "set" for header in answer.set_headers):
        return answer
    return msgspec.structs.replace(answer, constant=_computed(answer, str))


def _computed(answer: BoundAnswer, text: Callable[[Text], str]) -> Answer:
    def value(place: Place, name: str, computed: Text) -> str:
        found = text(computed)
        if (wrong := fault(place, found)) is not None:
            raise EvaluationError(f"the {place} `{name}` cannot be sent: {wrong}")
        return found

    def values(place: Place, pairs: tuple[tuple[str, Text], ...]) -> tuple[tuple[str, str], ...]:
        return tuple([(name, value(place, name, computed)) for name, computed in pairs])

    def headers(bound: tuple[BoundHeader, ...]) -> tuple[HeaderChange, ...]:
        return tuple([HeaderChange(h.name, value("header", h.name, h.value), h.action) for h in bound])

    return Answer(
        set_headers=headers(answer.set_headers),
        remove_headers=answer.remove_headers,
        set_query=values("query parameter", answer.set_query),
        remove_query=answer.item.remove_query,
        response_headers=headers(answer.response_headers),
        metadata=values("metadata", answer.metadata),
        status=answer.item.status,
        body=None if answer.body is None else value("body", "body", answer.body),
        headers=headers(answer.headers),
        hint=None if answer.hint is None else value("hint", "hint", answer.hint),
    )


def _settled(change: HeaderChange, there: bool) -> list[HeaderChange]:
    """What to do to a request header: Envoy can set any, and append to one that is there."""
    if change.action == ("if_absent" if there else "if_present"):
        return []
    return [change if change.action == "append" and there else HeaderChange(change.name, change.value)]
