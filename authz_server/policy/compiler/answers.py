"""Compiles the `answer` of a rule."""

from collections.abc import Mapping
from typing import get_args

from authz_server.documents.suggest import listing, quoted
from authz_server.documents.tree import Document, FieldPath
from authz_server.model import HeaderAction
from authz_server.policy.compiler.expressions import Expressions
from authz_server.policy.compiler.names import Report
from authz_server.policy.plan import AnswerItem, Effect, Expression, HeaderItem
from authz_server.policy.schema import Answer
from authz_server.policy.sendable import Place, fault

_OF_ALLOW = ("set_headers", "remove_headers", "set_query", "remove_query", "response_headers", "metadata")
_OF_DENY = ("status", "body", "headers", "hint")

Texts = tuple[tuple[str, str | Expression], ...]


class AnswerCompiler:
    """Compiles the answer of one rule, which stands at the path."""

    def __init__(
        self, document: Document, path: FieldPath, captures: frozenset[str], expressions: Expressions, report: Report
    ) -> None:
        self._document = document
        self._path = path
        self._captures = captures
        self._expressions = expressions
        self._report = report

    def compile(self, answer: Answer, effect: Effect, written_headers: frozenset[str] = frozenset()) -> AnswerItem:
        """What the answer changes; `written_headers` are not its affair."""
        self._check(answer, effect)
        self._check_written(answer, written_headers)
        return AnswerItem(
            set_headers=self._headers("set_headers", answer.set_headers),
            remove_headers=tuple(dict.fromkeys(answer.remove_headers)),
            set_query=self._texts("query parameter", "set_query", answer.set_query),
            remove_query=tuple(dict.fromkeys(answer.remove_query)),
            response_headers=self._headers("response_headers", answer.response_headers),
            metadata=self._texts("metadata", "metadata", answer.metadata),
            status=answer.status,
            body=None if answer.body is None else self._text("body", ("body",), answer.body),
            headers=self._headers("headers", answer.headers),
            hint=None if answer.hint is None else self._text("hint", ("hint",), answer.hint),
        )

    def _check(self, answer: Answer, effect: Effect) -> None:
        own, other = (_OF_ALLOW, _OF_DENY) if effect == "allow" else (_OF_DENY, _OF_ALLOW)
        if not answer.model_fields_set:
            self._complain((), "empty_item", "an answer without a field changes nothing", f"it has {listing(own)}")
        for field in other:
            if field in answer.model_fields_set:
                message = f"{quoted(field)} is not for {effect} rules"
                self._complain((field,), "contradiction", message, f"they have {listing(own)}", key=True)
        for index, name in enumerate(answer.remove_headers):
            if name in answer.set_headers:
                message = f"the header {quoted(name)} is set and removed"
                self._complain(("remove_headers", index), "contradiction", message, "to set it replaces the client's")

    def _check_written(self, answer: Answer, written_headers: frozenset[str]) -> None:
        set_headers: list[tuple[FieldPath, str]] = [(("set_headers", name), name) for name in answer.set_headers]
        removed: list[tuple[FieldPath, str]] = [(("remove_headers", i), n) for i, n in enumerate(answer.remove_headers)]
        for path, name in set_headers + removed:
            if name in written_headers:
                message = f"the header {quoted(name)} holds the token that the server itself makes for the upstream"
                hint = "take another one; the configuration has its name (`upstream_token.header`)"
                self._complain(path, "contradiction", message, hint, key=path[0] == "set_headers")

    def _headers(self, field: str, values: Mapping[str, object]) -> tuple[HeaderItem, ...]:
        # By the names of the document, which may write the name of one header in several ways.
        written = self._document.find((*self._path, field)).value if values else {}
        headers: dict[str, HeaderItem] = {}
        for name, value in written.items():
            if name.lower() in headers:
                message = f"the header {quoted(name.lower())} is given twice"
                self._complain((field, name), "duplicate_field", message, "names of headers have no case", key=True)
            headers[name.lower()] = self._header((field, name), name.lower(), value)
        return tuple([header for _, header in sorted(headers.items())])

    def _header(self, path: FieldPath, name: str, value: str | dict[HeaderAction, str]) -> HeaderItem:
        if isinstance(value, str):
            return HeaderItem(name, self._text("header", path, value))
        if len(value) != 1:
            found = f"it has {listing(tuple(value))}" if value else "it is empty"
            message = f"a header is changed in one way, and {found}"
            self._complain(path, "contradiction", message, f"write one of {listing(get_args(HeaderAction)[1:])}")
        texts = [(action, self._text("header", (*path, action), source)) for action, source in value.items()]
        action, text = texts[0] if texts else ("set", "")
        return HeaderItem(name, text, action)

    def _texts(self, place: Place, field: str, values: dict[str, str]) -> Texts:
        return tuple([(name, self._text(place, (field, name), source)) for name, source in sorted(values.items())])

    def _text(self, place: Place, path: FieldPath, source: str) -> str | Expression:
        text = self._expressions.text(self._document, (*self._path, *path), source, self._captures)
        if isinstance(text, str) and (wrong := fault(place, text)) is not None:
            self._complain(path, "invalid_value", f"the {place} cannot be sent: {wrong}", "write another value")
        return text

    def _complain(self, path: FieldPath, code: str, message: str, hint: str, *, key: bool = False) -> None:
        self._report(self._document.problem((*self._path, *path), code, message, hint, key=key))
