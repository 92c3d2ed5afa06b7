"""The first policy of one service: its file, its tests, and what they were learned from."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from msgspec import Struct

from authz_server.learning.asked import Asked
from authz_server.learning.cases import Cases
from authz_server.learning.grants import by_few_of_many, grants_of, observed
from authz_server.learning.observations import Observations, Seen
from authz_server.learning.rules import LearnedRule, rules_of
from authz_server.learning.templates import Parameter, find_templates
from authz_server.model import Path
from authz_server.policy.patterns import Literal, PathTemplate, PatternError, parse_path_template

Fields = dict[str, Any]


class Wishes(Struct, frozen=True):
    """What a user says beside the records."""

    min_count: int = 2
    """A caller does something so often before it is learned."""
    templates: tuple[PathTemplate, ...] = ()
    """Known beforehand."""
    words: int = 20
    """So many different words at one place are values of a parameter; 0 is never."""
    max_subjects: int = 3
    """Rules name users one by one where there are no more; 0 is never."""


class LearnedService(Struct):
    """What was learned of one service."""

    name: str
    """Full: `shop/orders`."""
    hosts: list[str]
    rules: list[LearnedRule]
    parameters: tuple[Parameter, ...]
    requests: Mapping[Asked, Seen]
    """Those that the rules are for."""
    path_prefix: str = ""

    @property
    def records(self) -> int:
        """How many records they are."""
        return sum(seen.count for seen in self.requests.values())

    @property
    def file(self) -> str:
        """The path of the policy file."""
        return f"{self.name}.yaml"

    @property
    def tests_file(self) -> str:
        """The path of the file of its tests."""
        return f"{self.name}_test.yaml"

    def policy(self) -> Fields:
        """The document of the service."""
        prefix = {"path_prefix": self.path_prefix} if self.path_prefix else {}
        head = {"kind": "service", "name": PurePosixPath(self.name).name, "hosts": self.hosts}
        return head | prefix | {"rules": [rule.fields(self.hosts) for rule in self.rules]}

    def tests(self) -> Fields:
        """The document of its tests."""
        return Cases(self.rules, self.hosts).document()

    def common_prefix(self) -> str:
        """The literal segments with which all paths begin."""
        paths = [parse_path_template(each.path) for rule in self.rules for each in rule.operations]
        common: list[str] = []
        for segments in zip(*(path.segments for path in paths), strict=False):
            first = segments[0]
            if not isinstance(first, Literal) or any(each != first for each in segments):
                break
            common.append(first.text)
        return "/" + "/".join(common) if common else ""


def learn_services(observations: Observations, wishes: Wishes) -> list[LearnedService]:
    """What can be learned of each service, by name; what cannot is left out there."""
    by_service: dict[str, dict[Asked, Seen]] = {}
    for asked, seen in observations.requests.items():
        by_service.setdefault(asked.service, {})[asked] = seen
    found = [_learned(name, requests, observations, wishes) for name, requests in sorted(by_service.items())]
    services = [service for service in found if service.rules]
    for service in services:
        if any(other is not service and set(other.hosts) & set(service.hosts) for other in services):
            service.path_prefix = service.common_prefix()
    return services


def _learned(name: str, requests: Mapping[Asked, Seen], observations: Observations, wishes: Wishes) -> LearnedService:
    methods: dict[Path, set[str]] = {}
    for asked in requests:
        if not asked.is_grpc:
            methods.setdefault(asked.path, set()).add(asked.method)
    paths = {path: frozenset(each) for path, each in methods.items()}
    templates = find_templates(paths, wishes.templates, wishes.words)
    usable = {asked: seen for asked, seen in requests.items() if _is_writable(asked, templates.of)}
    for asked, seen in requests.items():
        if asked not in usable:
            observations.leave_out("not_expressible", seen.example, seen.count)
    found = observed(usable, templates.of)
    often = {key: entry for key, entry in found.items() if entry.seen.count >= wishes.min_count}
    for key, entry in found.items():
        if key not in often:
            observations.leave_out("seen_too_seldom", entry.seen.example, entry.seen.count)
    for key in by_few_of_many(often, wishes.max_subjects):
        entry = often.pop(key)
        observations.leave_out("few_users", entry.seen.example, entry.seen.count)
    learned = {asked: usable[asked] for entry in often.values() for asked in entry.asked}
    rules = rules_of(grants_of(often, wishes.max_subjects))
    used = {each.path for rule in rules for each in rule.operations}
    return LearnedService(
        name,
        sorted({asked.host for asked in learned}),
        rules,
        tuple(each for each in templates.parameters if _is_used(each, used)),
        learned,
    )


def _is_used(parameter: Parameter, paths: Sequence[str] | set[str]) -> bool:
    return any(path == parameter.template or path.startswith(f"{parameter.template}/") for path in paths)


def _is_writable(asked: Asked, templates: Mapping[Path, str]) -> bool:
    """Whether a template can say it; of a path with characters that mean something elsewhere none can."""
    try:
        parse_path_template(asked.path_text if asked.is_grpc else templates[asked.path])
    except PatternError:
        return False
    return True
