"""What the answer of a deciding rule changes, computed for one request."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from authz_server.model import Answer, HeaderChange
from authz_server.policy.conditions import ConditionRuntime, Evaluation, EvaluationError, Program
from authz_server.policy.plan import AnswerItem, Expression
from authz_server.policy.sendable import Place, fault

Text = str | Program
"""A constant, or a program that computes a text."""


class BoundAnswer(Struct, frozen=True):
    """A rule's answer with its expressions loaded. `constant` is set where nothing has to be computed."""

    constant: Answer | None
    item: AnswerItem
    remove_headers: tuple[str, ...] = ()
    set_headers: tuple[tuple[str, Text], ...] = ()
    set_query: tuple[tuple[str, Text], ...] = ()
    response_headers: tuple[tuple[str, Text], ...] = ()
    metadata: tuple[tuple[str, Text], ...] = ()
    headers: tuple[tuple[str, Text], ...] = ()
    body: Text | None = None
    hint: Text | None = None

    def compute(self, evaluation: Evaluation, captures: Mapping[str, str]) -> Answer:
        """The answer for one request. Raises EvaluationError where a value cannot be computed or sent."""
        if self.constant is not None:
            return self.constant

        def text(value: Text) -> str:
            return value if isinstance(value, str) else value.text(evaluation, captures)

        return _computed(self, text)


def bind_answer(item: AnswerItem, runtime: ConditionRuntime, protected: frozenset[str] = frozenset()) -> BoundAnswer:
    """Load the expressions of an answer.

    `protected` are the names that no client may send to the upstream: those that the answer does not set are removed.
    """

    def bind(value: str | Expression) -> Text:
        return value if isinstance(value, str) else runtime.load(value)

    def bind_all(values: tuple[tuple[str, str | Expression], ...]) -> tuple[tuple[str, Text], ...]:
        return tuple((name, bind(value)) for name, value in values)

    answer = BoundAnswer(
        constant=None,
        item=item,
        remove_headers=tuple(sorted(protected.union(item.remove_headers) - {name for name, _ in item.set_headers})),
        set_headers=bind_all(item.set_headers),
        set_query=bind_all(item.set_query),
        response_headers=bind_all(item.response_headers),
        metadata=bind_all(item.metadata),
        headers=bind_all(item.headers),
        body=None if item.body is None else bind(item.body),
        hint=None if item.hint is None else bind(item.hint),
    )
    pairs = answer.set_headers + answer.set_query + answer.response_headers + answer.metadata + answer.headers
    values = [value for _, value in pairs] + [answer.body, answer.hint]
    if any(isinstance(value, Program) for value in values):
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

    def headers(pairs: tuple[tuple[str, Text], ...]) -> tuple[HeaderChange, ...]:
        return tuple([HeaderChange(name, found) for name, found in values("header", pairs)])

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
