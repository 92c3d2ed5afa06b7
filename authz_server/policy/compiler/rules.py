"""Compiles rules."""

import re
from typing import Any

from authz_server.documents.problem import Position
from authz_server.documents.suggest import quoted
from authz_server.documents.tree import Document, FieldPath
from authz_server.policy.compiler.answers import AnswerCompiler
from authz_server.policy.compiler.callers import Callers, Folders
from authz_server.policy.compiler.expressions import Expressions
from authz_server.policy.compiler.names import Report
from authz_server.policy.compiler.operations import captures_of, captures_of_raw, compile_operations, templates_of
from authz_server.policy.compiler.requires import compile_requires
from authz_server.policy.compiler.times import compile_times
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import EMPTY_ANSWER, CallerItem, Rule
from authz_server.policy.schema import Guardrail
from authz_server.policy.schema import Rule as RuleModel

_CAPTURE = re.compile(r"\bpath(?:\s*\.\s*|\s*\[\s*[\"'])([A-Za-z_][A-Za-z0-9_]*)")


class RuleCompiler:
    """Compiles the rules of one load."""

    def __init__(
        self, callers: Callers, expressions: Expressions, report: Report, written_headers: frozenset[str]
    ) -> None:
        """`written_headers` are written by the server itself, and by no rule."""
        self._callers = callers
        self._written_headers = written_headers
        self._expressions = expressions
        self._report = report
        self._ids: dict[tuple[str, str], Position] = {}

    def compile(self, parsed: ParsedFile, owner: str, path_prefix: str) -> list[Rule]:
        """The rules of a service or guardrails document; `owner` is what their full ids begin with."""
        rules = []
        # Two services of one name are reported as such, not rule by rule.
        scope = owner if parsed.kind == "guardrails" else parsed.file.path
        for index, rule in enumerate(parsed.rules):
            path = ("rules", index)
            if rule is None:
                self._check_conditions(parsed.document, path)
            else:
                self._check_id(parsed.document, (*path, "id"), scope, rule.id)
                rules.append(self._rule(parsed, path, rule, f"{owner}/{rule.id}", path_prefix))
        return rules

    def _check_id(self, document: Document, path: FieldPath, scope: str, rule_id: str) -> None:
        position = document.position(path)
        first = self._ids.setdefault((scope, rule_id), position)
        if first != position:
            message = f"a rule with the id {quoted(rule_id)} is there already"
            self._report(document.problem(path, "duplicate_id", message, f"at {first.file}:{first.line}"))

    def _rule(
        self, parsed: ParsedFile, path: FieldPath, rule: RuleModel | Guardrail, full_id: str, path_prefix: str
    ) -> Rule:
        document = parsed.document
        templates = templates_of(rule.operations)
        captures = captures_of(templates)
        place = document.position((*path, "id"))
        condition = None
        if rule.when is not None:
            condition = self._expressions.condition(document, (*path, "when"), rule.when, captures)
        answer = EMPTY_ANSWER
        if rule.answer is not None:
            compiler = AnswerCompiler(document, (*path, "answer"), captures, self._expressions, self._report)
            answer = compiler.compile(rule.answer, rule.effect, self._written_headers)
        return Rule(
            id=full_id,
            effect=rule.effect,
            callers=self._from(parsed.file.folders, document, path, rule),
            operations=compile_operations(
                document, (*path, "to"), rule.operations, templates, path_prefix, self._report
            ),
            condition=condition,
            answer=answer,
            location=f"{place.file}:{place.line}:{place.column}",
            description=rule.description,
            requires=compile_requires(document, path, rule.requires, rule.effect, self._report),
            times=compile_times(document, path, rule.schedule, rule.valid, self._report),
            guardrail=isinstance(rule, Guardrail),
            audit=rule.mode == "audit",
            record=rule.record,
        )

    def _from(
        self, folders: Folders, document: Document, path: FieldPath, rule: RuleModel | Guardrail
    ) -> tuple[CallerItem, ...] | None:
        if isinstance(rule.callers, list):
            return self._callers.compile(folders, document, (*path, "from"), rule.callers)
        if rule.callers is None and rule.effect == "allow":
            message, hint = "an allow rule needs `from`", "`from: anyone` opens it to everybody"
            self._report(document.problem(path, "missing_field", message, hint))
        return None

    def _check_conditions(self, document: Document, path: FieldPath) -> None:
        """Check what can be checked of a rule that is wrong elsewhere, so that all errors show at once."""
        raw: Any = document.find(path).value
        if not isinstance(raw, dict):
            return
        when = raw.get("when")
        known, complete = captures_of_raw(raw.get("to"))
        for index, source in enumerate(when if isinstance(when, list) else [when]):
            place = (*path, "when", index) if isinstance(when, list) else (*path, "when")
            if isinstance(source, str) and source.strip() and not document.find(place).refused:
                # What a path was to capture that is wrong itself, nobody knows.
                captures = known if complete else known | frozenset(_CAPTURE.findall(source))
                self._expressions.condition(document, place, source, captures)
