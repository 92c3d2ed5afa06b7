"""Compiles expressions where they stand in documents, identical ones once."""

import re
from collections.abc import Sequence

from authz_server.documents.tree import Document, FieldPath
from authz_server.policy.compiler.declared import undeclared
from authz_server.policy.compiler.names import KnownNames, Report
from authz_server.policy.conditions import ConditionCompiler, ConditionError
from authz_server.policy.conditions.checked import Parsed, literal_text
from authz_server.policy.plan import Expression

# What somebody writes who means a constant and forgets that it needs quotes inside of YAML's.
_BARE_WORDS = re.compile(r"[\w ,.:;!?/@+-]+")


class Expressions:
    """The expressions of one load."""

    def __init__(self, known: KnownNames | None, report: Report) -> None:
        """`known` are the names of a configuration, where there is one."""
        self._known = known
        self._report = report
        self._compiler = ConditionCompiler()
        self._compiled: dict[tuple[str, frozenset[str], str], Expression | ConditionError] = {}

    def condition(
        self, document: Document, path: FieldPath, sources: str | Sequence[str], captures: frozenset[str]
    ) -> Expression | None:
        """All conditions of a `when` as one; None where one of them is wrong, which is reported."""
        if isinstance(sources, str):
            return self._expression(document, path, sources, captures, "bool")
        each = [
            self._expression(document, (*path, index), source, captures, "bool") for index, source in enumerate(sources)
        ]
        if None in each or len(each) == 1:
            return each[0] if len(each) == 1 else None
        try:
            return self._compiler.all_of(sources, captures)
        except ConditionError as error:
            self._report(document.problem(path, "invalid_condition", error.message, error.hint))
            return None

    def text(self, document: Document, path: FieldPath, source: str, captures: frozenset[str]) -> str | Expression:
        """An expression of type string, a quoted text as the constant that it is; "" where it is wrong."""
        expression = self._expression(document, path, source, captures, "string")
        if expression is None:
            return ""
        constant = literal_text(Parsed(expression.ast).expr)
        return expression if constant is None else constant

    def _expression(
        self, document: Document, path: FieldPath, source: str, captures: frozenset[str], kind: str
    ) -> Expression | None:
        key = (source, captures, kind)
        if key not in self._compiled:
            self._compiled[key] = self._compile(source, captures, kind)
        compiled = self._compiled[key]
        if isinstance(compiled, Expression):
            for problem in undeclared(document, path, source, compiled.reads, self._known):
                self._report(problem)
            return compiled
        hint = compiled.hint
        if kind == "string" and _BARE_WORDS.fullmatch(source) and (not hint or hint.startswith("there are")):
            hint = f"a constant has quotes of its own: \"'{source}'\""
        lines = source.split("\n")
        offset = sum(len(line) + 1 for line in lines[: compiled.line - 1]) + compiled.column - 1
        if offset + compiled.length >= len(source.rstrip()) and _is_cut_by_a_comment(document, path):
            hint = "a ` #` begins a comment in YAML: put all of the expression in quotes"
        self._report(
            document.problem_within(
                path, "invalid_condition", compiled.message, hint, offset=offset, length=compiled.length
            )
        )
        return None

    def _compile(self, source: str, captures: frozenset[str], kind: str) -> Expression | ConditionError:
        try:
            if kind == "bool":
                return self._compiler.condition(source, captures)
            return self._compiler.text(source, captures)
        except ConditionError as error:
            return error


def _is_cut_by_a_comment(document: Document, path: FieldPath) -> bool:
    node = document.find(path)
    behind = node.source.text[node.end :].partition("\n")[0]
    return node.style == "" and behind.lstrip(" ").startswith("#")
