"""What a recorded request was about, without the ids in its path, so that many have the same."""

import re

from authz_server.errors import Refused
from authz_server.policy.operation_index import templates
from authz_server.policy.patterns import Literal, PathTemplate
from authz_server.policy.plan import Plan
from authz_server.replay.recorded import Recorded
from authz_server.request.path import canonical_path

_ID = re.compile("[^/]*[0-9][^/]*")
MAX_REMEMBERED = 100_000


class Routes:
    """Names the routes of requests by the templates of policies."""

    def __init__(self, *plans: Plan, remembered: int = MAX_REMEMBERED) -> None:
        """So many paths are remembered with their routes."""
        self._remembered = remembered
        found: dict[str, set[PathTemplate]] = {}
        for service in (service for plan in plans for service in plan.services):
            items = [item for rule in service.rules for item in rule.operations or () if item.grpc is None]
            known = {template for item in items for template in templates(item) if template is not None}
            found.setdefault(service.name, set()).update(known)
        self._templates = {name: sorted(known, key=_vagueness) for name, known in found.items()}
        self._known: dict[tuple[str | None, str], str] = {}

    def of(self, record: Recorded) -> str:
        """Method, host, and the template that says most of the path; without one, the path with `*` for its ids."""
        key = (record.service, record.path or "")
        path = self._known.get(key)
        if path is None:
            if len(self._known) >= self._remembered:
                self._known.clear()
            path = self._known[key] = self._path(*key)
        return f"{record.method} {record.host}{path}"

    def _path(self, service: str | None, text: str) -> str:
        try:
            path = canonical_path(text, allow_empty=True).path
        except Refused:
            return _ID.sub("*", text)
        for template in self._templates.get(service or "", ()):
            if template.match(path) is not None:
                return template.text
        return _ID.sub("*", text)


def _vagueness(template: PathTemplate) -> tuple[bool, int, int, str]:
    literals = sum(isinstance(segment, Literal) for segment in template.segments)
    return template.rest is not None, -literals, -len(template.segments), template.text
