"""Documents checked against models, with every complaint where it belongs and in words of people."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.problem import Problem
from authz_server.documents.shape import example_at, fields, home_of, literals_at, models_at
from authz_server.documents.source import MAX_PROBLEMS
from authz_server.documents.suggest import closest, did_you_mean, listing, quoted
from authz_server.documents.tree import Document, Step

M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "literal_error": "",
    "enum": "",
}
_IN_NO_READING = frozenset(_EXPECTED) - {"string_type", "int_type", "int_from_float", "float_type", "bool_type"}
"""What neither a text nor a number, nor true and false can be, whatever readers of YAML take a value for."""
_LIKE_ANOTHER_TYPE = re.compile(r"-?[0-9.]+|true|false")
_LIMITS = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_long": "must not have more than {max_length} items",
    "string_too_long": "must not be longer than {max_length} characters",
}


class _Error(NamedTuple):
    path: tuple[Step, ...]
    type: str
    context: dict[str, Any]
    message: str
    about_key: bool


def validate(
    document: Document, model: type[M], context: Mapping[str, object] | None = None
) -> tuple[M | None, list[Problem]]:
    """The document as an instance of the model, or all that is wrong with it (at most 100 problems).

    `context` is what the model's validators find in their `ValidationInfo`.
    """
    try:
        return model.model_validate(document.value, context=context), []
    except ValidationError as error:
        return None, _Complaints(document, model).about(error)


class _Complaints:
    def __init__(self, document: Document, model: type[BaseModel]) -> None:
        self._document = document
        self._model = model

    def about(self, error: ValidationError) -> list[Problem]:
        raw = error.errors(include_url=False, include_input=False)[: 4 * MAX_PROBLEMS]
        found = [self._located(one) for one in raw]
        errors = [one for one in found if not self._is_told(one)]
        misspelt = {self._meant(one) for one in errors if one.type == "extra_forbidden"}
        # A value of several possible shapes fails as each of them: what is inside it says which one was meant.
        inside = {one.path[:end] for one in found for end in range(len(one.path))}
        inside |= {one.path for one in errors if one.type not in _EXPECTED}
        mistyped: dict[tuple[Step, ...], list[_Error]] = {}
        problems = []
        for one in errors:
            if one.type in _EXPECTED:
                if one.path not in inside:
                    mistyped.setdefault(one.path, []).append(one)
            elif one.type != "missing" or one.path not in misspelt:
                problems.append(self._problem(one))
        problems += [self._mistyped(path, several) for path, several in mistyped.items()]
        return sorted(problems, key=lambda problem: problem.position)[:MAX_PROBLEMS]

    def _is_told(self, error: _Error) -> bool:
        """Whether a problem was reported there that may be the cause."""
        node = self._document.find(error.path)
        return node.refused and not (error.type in _IN_NO_READING and isinstance(node.value, str))

    def _located(self, raw: Any) -> _Error:  # noqa: ANN401 - pydantic's error details
        """The error with the path that the document has; pydantic's names the shapes of a union as well."""
        node, path = self._document.root, []
        for step in raw["loc"]:
            if step in node.children:
                node = node.children[step]
                path.append(step)
        if raw["type"] == "missing":
            path.append(raw["loc"][-1])
        return _Error(tuple(path), raw["type"], raw.get("ctx", {}), raw["msg"], raw["loc"][-1:] == ("[key]",))

    def _problem(self, error: _Error) -> Problem:
        subject = self._subject(error.path)
        if error.type == "missing":
            return self._missing(error.path)
        if error.type == "extra_forbidden":
            return self._unknown(error.path)
        if error.type == "value_error":
            return self._invalid(error)
        if error.type in ("too_short", "string_too_short"):
            return self._complain(error, f"{subject} must not be empty", self._example(error.path))
        if error.type in _LIMITS:
            return self._complain(error, f"{subject} {_LIMITS[error.type].format(**error.context)}")
        return self._complain(error, f"{subject} is not valid: {error.message[:1].lower()}{error.message[1:]}")

    def _complain(self, error: _Error, message: str, hint: str = "") -> Problem:
        return self._document.problem(error.path, "invalid_value", message, hint, key=error.about_key)

    def _missing(self, path: tuple[Step, ...]) -> Problem:
        message = f"{self._noun(path[:-1])} needs {quoted(str(path[-1]))}"
        return self._document.problem(path[:-1], "missing_field", message, self._example(path))

    def _unknown(self, path: tuple[Step, ...]) -> Problem:
        known = [name for model in models_at(self._model, path[:-1]) for name in fields(model)]
        name = str(path[-1])
        message = f"unknown field {quoted(name)} in {self._noun(path[:-1])}"
        hint = did_you_mean(name, known, f"known fields are {listing(sorted(known))}")
        if (home := home_of(self._model, path[:-1], name)) is not None:
            field, in_items = home
            hint = f"it belongs in an item of {quoted(field)}" if in_items else f"it belongs under {quoted(field)}"
        return self._document.problem(path, "unknown_field", message, hint, key=True)

    def _meant(self, error: _Error) -> tuple[Step, ...]:
        models = models_at(self._model, error.path[:-1])
        name = closest(str(error.path[-1]), [name for model in models for name in fields(model)])
        return (*error.path[:-1], name or "")

    def _invalid(self, error: _Error) -> Problem:
        cause = error.context["error"]
        if not isinstance(cause, InvalidValue):
            return self._complain(error, str(cause), str(getattr(cause, "hint", "")))
        path = (*error.path, *cause.at)
        if error.about_key:
            return self._document.problem(path, cause.code, cause.message, cause.hint, key=True)
        return self._document.problem_within(
            path, cause.code, cause.message, cause.hint, offset=cause.offset, length=cause.length
        )

    def _mistyped(self, path: tuple[Step, ...], errors: list[_Error]) -> Problem:
        value = self._document.find(path).value
        literals = literals_at(self._model, path)
        shapes = [_EXPECTED[error.type] or _literals(error.context["expected"]) for error in errors]
        message = f"{self._subject(path)} must be {_alternatives(shapes)}, not {_shown(value)}"
        guess = did_you_mean(value, literals) if isinstance(value, str) else ""
        hint = guess or self._reshaped(path, value, shapes) or self._example(path)
        return self._document.problem(path, "wrong_type", message, hint)

    def _reshaped(self, path: tuple[Step, ...], value: object, shapes: list[str]) -> str:
        """How the same value may be what is wanted."""
        if shapes == ["a text"] and isinstance(value, int | float):
            return "put it in quotes"
        if isinstance(value, dict) and "a list" in shapes and models_at(self._model, (*path, 0)):
            begin = "put it in `[ ]`" if self._document.find(path).style == "flow" else "begin it with `- `"
            example = self._example(path)
            return f"{begin}, {example}" if example else begin
        if isinstance(value, str) and path and value in literals_at(self._model, path[:-1]):
            return f"write {quoted(f'{path[-2]}: {value}')}"
        return ""

    def _noun(self, path: tuple[Step, ...]) -> str:
        models = models_at(self._model, path)
        return getattr(models[0], "noun", self._subject(path)) if models else self._subject(path)

    def _subject(self, path: tuple[Step, ...]) -> str:
        if not path:
            return getattr(self._model, "noun", "the file")
        if isinstance(path[-1], str):
            return quoted(path[-1])
        lists = [step for step in path if isinstance(step, str)]
        return f"an item of {quoted(lists[-1])}" if lists else "an item"

    def _example(self, path: tuple[Step, ...]) -> str:
        example = example_at(self._model, path)
        return f"for example {example}" if example else ""


def _literals(expected: str) -> str:
    """pydantic's "'a', 'b' or 'c'" as we write it."""
    return expected.replace("'", "`").replace("True", "`true`").replace("False", "`false`")


def _alternatives(shapes: list[str]) -> str:
    distinct = [shape for shape in dict.fromkeys(shapes) if shape != "a whole number" or "a number" not in shapes]
    return " or ".join([part for part in (", ".join(distinct[:-1]), distinct[-1]) if part])


def _shown(value: object) -> str:
    if isinstance(value, str):
        if not value or "\n" in value:
            return "a text"
        # Where only the quotes are too many, the value alone would not tell what is wrong.
        return f"the text {quoted(value)}" if _LIKE_ANOTHER_TYPE.fullmatch(value) else quoted(value)
    if isinstance(value, bool | int | float):
        return quoted(str(value).lower())
    return "a list" if isinstance(value, list) else "a mapping"
