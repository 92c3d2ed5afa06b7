"""Actions, one of each kind that the rules of some services tell apart."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from msgspec import Struct

from authz_server.analysis.attributes import Asked
from authz_server.analysis.judge import Action
from authz_server.analysis.segments import Pattern, of_template, representatives
from authz_server.documents.invalid import InvalidValue
from authz_server.policy.operation_index import templates
from authz_server.policy.patterns import Capture, HostPattern, Literal, parse_host_pattern, parse_path_template
from authz_server.policy.plan import OperationItem, Rule, Service

_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "PURGE")
_UPGRADES = ("websocket", "h2c", "other")
_PORTS = (443, 8443, 80, 1)


class Vocabulary(Struct):
    """What rules name of actions."""

    methods: list[str] = []
    upgrades: list[str] = []
    ports: list[int] = []
    patterns: list[Pattern] = []
    grpc: bool = False
    connect: bool = False


def vocabulary(services: Iterable[Service], asked: Iterable[tuple[Rule, Asked]]) -> Vocabulary:
    """Everything that the rules of the services, and their conditions, tell apart."""
    words = Vocabulary()
    for service in services:
        prefix = parse_path_template(service.path_prefix)
        # Paths that are a prefix but for the spelling belong to nobody.
        for folds in (False, True):
            words.patterns += [Pattern(prefix.segments, rest, folds) for rest in (False, True)]
        for rule in service.rules:
            for item in rule.operations or ():
                _add(words, item, rule)
    for rule, one in asked:
        for (variable, keys), values in one.values.items():
            texts = [value for value in values if isinstance(value, str)]
            if variable == "request" and keys[0] == "method":
                words.methods += texts
            elif variable == "request" and keys[0] == "path":
                words.patterns += [pattern for text in texts for pattern in _path(text)]
            elif variable == "path":
                words.patterns += _captured(rule, keys[0], texts)
            elif variable == "grpc" or keys[:1] == ("is_grpc",):
                words.grpc = True
    return words


def _add(words: Vocabulary, item: OperationItem, rule: Rule) -> None:
    words.methods += item.methods
    words.ports += item.ports
    words.upgrades += [item.upgrade] if item.upgrade else []
    words.grpc = words.grpc or item.grpc is not None
    words.connect = words.connect or item.connect
    words.patterns += [of_template(t, folds=rule.effect == "deny") for t in templates(item) if t is not None]


def _path(text: str) -> list[Pattern]:
    try:
        template = parse_path_template(text)
    except InvalidValue:
        return []
    return [of_template(template, folds=False)]


def _captured(rule: Rule, name: str, texts: Sequence[str]) -> Iterator[Pattern]:
    """The templates of a rule with a capture as the texts have it, so that paths with these are tried."""
    for item in rule.operations or ():
        for template in templates(item):
            if template is None or name not in template.captures:
                continue
            for text in texts:
                segments = tuple(_written(part, name, text) for part in template.segments)
                if template.rest is not None and template.rest.name == name:
                    segments += tuple(Literal(part) for part in text.split("/") if part)
                    yield Pattern(segments, False, rule.effect == "deny")
                else:
                    yield Pattern(segments, template.rest is not None, rule.effect == "deny")


def _written(part: Literal | Capture, name: str, text: str) -> Literal | Capture:
    if isinstance(part, Capture) and part.name == name:
        return Literal(f"{part.prefix}{text}{part.suffix}")
    return part


def hosts(patterns: Iterable[str]) -> list[str]:
    """One host of each kind that the patterns tell apart, the named ones first; perhaps with a port."""
    parsed = [parse_host_pattern(text) for text in dict.fromkeys(patterns)]
    ports = list(dict.fromkeys([None, *(pattern.port for pattern in parsed)]))
    names = list(dict.fromkeys([pattern.name for pattern in parsed]))
    concrete = [name for name in names if "*" not in name]
    concrete += [f"any{name[1:]}" for name in names if name.startswith("*.")]
    # Below a host that is named itself, and one that nobody names.
    concrete += [f"any.{name}" for name in names if "*" not in name] + ["elsewhere.example"]
    kinds: dict[tuple[bool, ...], str] = {}
    for name in concrete:
        for port in ports:
            fits = tuple(pattern.matches(name, port) for pattern in parsed)
            kinds.setdefault(fits, name if port is None else f"{name}:{port}")
    return list(kinds.values())


def fits_host(pattern: HostPattern, host: str) -> bool:
    """Whether a host, perhaps with a port, fits."""
    name, _, port = host.partition(":")
    return pattern.matches(name, int(port) if port else None)


def actions(words: Vocabulary, host: str) -> Iterator[Action]:
    """One action on a host of each kind, the usual ones first."""
    methods = list(dict.fromkeys(words.methods))
    methods += [next(method for method in (*_METHODS, "X-OTHER") if method not in methods)]
    methods.sort(key=lambda method: _METHODS.index(method) if method in _METHODS else len(_METHODS))
    methods += ["CONNECT"] if words.connect else []
    # Deny rules ask whether a protocol is among those that are wanted, allow rules whether it is the only one.
    upgrades = [text for one in dict.fromkeys(words.upgrades) for text in (one, f"{one},other")]
    upgrades += [next(upgrade for upgrade in _UPGRADES if upgrade not in upgrades)]
    ports: list[int | None] = [None]
    if words.ports:
        ports += [*dict.fromkeys(words.ports), next(port for port in _PORTS if port not in words.ports)]
    for segments in representatives(words.patterns):
        for slash in (False, True) if segments else (True,):
            for method, port in product(methods, ports):
                yield Action(method, host, segments, slash, port=port)
                if words.grpc and len(segments) == 2 and not slash:
                    yield Action(method, host, segments, slash, grpc=True, port=port)
                for upgrade in upgrades:
                    yield Action(method, host, segments, slash, upgrade, port=port)
    for port in ports:
        yield Action("CONNECT", host, (), False, port=port)
