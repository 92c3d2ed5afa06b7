"""Where the rules of a plan are written, with the parts that compiling joins together."""

from collections.abc import Iterable

from msgspec import Struct

from authz_server.documents.problem import Position
from authz_server.policy.compiler.conflicts import GUARDRAILS, full_name
from authz_server.policy.compiler.operations import captures_of, templates_of
from authz_server.policy.conditions import ConditionCompiler
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import Expression
from authz_server.policy.schema import Guardrail, Rule, Service


class RuleSource(Struct, frozen=True):
    """A rule as it stands in its file."""

    id: str
    """Full."""
    parsed: ParsedFile
    index: int
    model: Rule | Guardrail

    def position(self, *path: str | int) -> Position:
        """Of the rule's id, or of a part below the rule; `("from", 0)` is the first item of its `from`."""
        document = self.parsed.document
        if not path:
            return document.position(("rules", self.index, "id"))
        return document.position(("rules", self.index, *path), key=len(path) == 1)

    @property
    def conditions(self) -> list[str]:
        """Each of `when`."""
        when = self.model.when
        return [] if when is None else [when] if isinstance(when, str) else list(when)

    def condition_position(self, number: int) -> Position:
        """Of one of the conditions."""
        return self.position("when", number) if isinstance(self.model.when, list) else self.position("when")

    def condition(self, compiler: ConditionCompiler, sources: list[str]) -> Expression | None:
        """These conditions joined, with the rule's captures; None without any. Raises ConditionError."""
        captures = captures_of(templates_of(self.model.operations))
        if not sources:
            return None
        return compiler.condition(sources[0], captures) if len(sources) == 1 else compiler.all_of(sources, captures)


def sources_of(files: Iterable[ParsedFile]) -> dict[str, RuleSource]:
    """All rules of good documents by full id."""
    found: dict[str, RuleSource] = {}
    for parsed in sorted(files, key=lambda parsed: parsed.file.path):
        owner = parsed.model.name if isinstance(parsed.model, Service) else GUARDRAILS
        for index, model in enumerate(parsed.rules):
            if model is not None:
                source = RuleSource(f"{full_name(parsed, owner)}/{model.id}", parsed, index, model)
                found[source.id] = source
    return found
