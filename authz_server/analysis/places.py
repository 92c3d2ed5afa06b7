"""Where the rules of a plan stand in their documents."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from authz_server.documents.tree import Document, FieldPath
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import Rule


class Spot(Struct, frozen=True):
    """A rule in its document."""

    document: Document
    path: FieldPath
    accepts: Mapping[str, str]
    """Codes of findings, and why they are meant."""


class Places:
    """All rules of a load, by the place that a plan gives."""

    def __init__(self, files: Iterable[ParsedFile]) -> None:
        self._spots: dict[str, Spot] = {}
        for file in files:
            for number, rule in enumerate(file.rules):
                if rule is None:
                    continue
                path: FieldPath = ("rules", number)
                position = file.document.position((*path, "id"))
                place = f"{position.file}:{position.line}:{position.column}"
                self._spots[place] = Spot(file.document, path, rule.accepts)

    def of(self, rule: Rule) -> Spot:
        """Where a rule stands."""
        return self._spots[rule.location]
