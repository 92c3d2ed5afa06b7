"""Environment variables over a configuration file: `AUTHZ_LISTEN__ADDRESS` is the key `listen.address`."""

from collections.abc import Iterator, Mapping

from authz_server.control.settings.places import EnvironmentText
from authz_server.control.settings.root import Settings
from authz_server.documents.load import parse
from authz_server.documents.problem import Position, Problem
from authz_server.documents.shape import fields
from authz_server.documents.source import Source
from authz_server.documents.suggest import closest, did_you_mean
from authz_server.documents.tree import Document, Node, empty_mapping

PREFIX = "AUTHZ_"
CONFIG = "AUTHZ_CONFIG"
"""Names the configuration file itself."""
_NO_KEYS = frozenset({CONFIG})


def overlay(document: Document, environment: Mapping[str, str]) -> list[Problem]:
    """Put the values of the environment over those of the document, in place; gives back what is wrong with them."""
    problems: list[Problem] = []
    for name, text in _variables(environment):
        path = name.removeprefix(PREFIX).lower().split("__")
        known = fields(Settings)
        if path[0] in known:
            node, more = _node(name, text)
            problems += more
            if node is not None:
                _graft(document.root, path, node)
        elif len(path) > 1 or closest(path[0], known) is not None:
            # Others are not ours: Kubernetes puts AUTHZ_PORT and the like there for a service called `authz`.
            hint = did_you_mean(path[0], known, f"keys are {', '.join(sorted(known))}")
            position = Position(name, 1, len(PREFIX) + 1, len(path[0]))
            problems.append(Source(name, name).problem(position, "unknown_field", "this names no key", hint))
    return problems


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in sorted(environment.items()):
        # An empty variable is one that was not meant to be set.
        if name.startswith(PREFIX) and name not in _NO_KEYS and text:
            yield name, text


def _node(name: str, text: str) -> tuple[Node | None, list[Problem]]:
    if text[0] in "[{\"'":
        document, problems = parse(text, name)
        if document is None or problems:
            return None, problems
        _mark_texts(document.root)
        return document.root, []
    # Problems show the variable's name and not its value, which may have been meant for something secret.
    source = Source(name, name)
    return Node(_scalar(text), source, 0, len(name), ""), []


def _scalar(text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    if text.isascii() and text.isdigit() and len(text) < 10 and (text == "0" or text[0] != "0"):
        return int(text)
    return EnvironmentText(text)


def _mark_texts(node: Node) -> None:
    for step, child in node.children.items():
        _mark_texts(child)
        if isinstance(child.value, str):
            child.value = EnvironmentText(child.value)
            node.value[step] = child.value


def _graft(root: Node, path: list[str], leaf: Node) -> None:
    parent = root
    for step in path[:-1]:
        child = parent.children.get(step)
        if child is None or not isinstance(child.value, dict):
            below = empty_mapping(leaf)
            if step == "listen" and parent is root and child is not None and isinstance(child.value, str):
                _attach(below, "address", child)
            _attach(parent, step, below)
            child = below
        parent = child
    _attach(parent, path[-1], leaf)


def _attach(parent: Node, step: str, child: Node) -> None:
    parent.children[step] = child
    parent.value[step] = child.value
