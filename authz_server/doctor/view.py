"""A configuration as it is written, with the place of every value: YAML or JSON, in either of protobuf's spellings."""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from msgspec import Struct
from yaml.cyaml import CSafeLoader

MAX_BYTES = 64 * 1024 * 1024
MAX_VALUES = 2_000_000
"""Aliases may repeat a value: they count each time."""

_CAMEL = re.compile(r"[a-z][a-z0-9]*(?:[A-Z][a-z0-9]*)+")
_DURATIONS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?s")
_INTEGERS = re.compile(r"-?[0-9]{1,19}")


class Unreadable(Exception):
    """The configuration cannot be read; says where and why."""


class View(Struct, frozen=True):
    """A value and where it stands. What is missing is a view of None, at the place of what it is missing in."""

    value: Any
    """Of mappings and lists the views of what is in them."""
    place: str

    def __getitem__(self, name: str) -> "View":
        if isinstance(self.value, dict) and name in self.value:
            found: View = self.value[name]
            return found
        return View(None, self.place)

    def __bool__(self) -> bool:
        return self.value is not None

    def at(self, *names: str) -> "View":
        """What stands under these names, one in the other."""
        view = self
        for name in names:
            view = view[name]
        return view

    def items(self) -> list[tuple[str, "View"]]:
        """The fields of a mapping; none of anything else."""
        return list(self.value.items()) if isinstance(self.value, dict) else []

    def each(self) -> list["View"]:
        """The items of a list; none of anything else."""
        return list(self.value) if isinstance(self.value, list) else []

    @property
    def text(self) -> str:
        """A scalar as text; empty for anything else."""
        return "" if isinstance(self.value, dict | list | None) else str(self.value)

    @property
    def on(self) -> bool:
        """Whether a flag is set."""
        return self.value is True or self.text.lower() == "true"

    @property
    def number(self) -> int | None:
        """A whole number, which protobuf's JSON may write as a text."""
        return int(self.text) if _INTEGERS.fullmatch(self.text) else None

    @property
    def seconds(self) -> float | None:
        """A duration, as protobuf's JSON writes it: `0.250s`."""
        return float(self.text[:-1]) if _DURATIONS.fullmatch(self.text) else None

    @property
    def type(self) -> str:
        """The name of the message in an `Any`, without what stands before it: `ExtAuthz`, with its packages."""
        return self["@type"].text.rpartition("/")[2]

    def find(self, type_name: str) -> Iterator["View"]:
        """Every message of this type, here and below."""
        if self.type == type_name:
            yield self
        for below in [view for _, view in self.items()] + self.each():
            yield from below.find(type_name)


def read(text: str, name: str, *, lines: bool = True) -> View:
    """The configuration in a text, of which `name` tells people. Raises Unreadable.

    Without `lines` places are the way from the root, for a text that nobody has before them.
    """
    if len(text) > MAX_BYTES:
        raise Unreadable(f"{name} is larger than {MAX_BYTES} bytes")
    try:
        root = yaml.compose(text, Loader=CSafeLoader)
        if root is None:
            raise Unreadable(f"{name} is empty")
        return _Reader(name, lines).view(root, 0, name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise Unreadable(f"{place}: this is neither YAML nor JSON: {error.problem}") from None
    except yaml.YAMLError as error:
        raise Unreadable(f"{name} is neither YAML nor JSON: {error}") from None


class _Reader:
    def __init__(self, name: str, lines: bool) -> None:
        self._name = name
        self._lines = lines
        self._left = MAX_VALUES

    def view(self, node: yaml.Node, depth: int, way: str) -> View:
        self._left -= 1
        if self._left < 0 or depth > 200:
            raise Unreadable(f"{self._name} has too many values, or is nested too deeply")
        line = f"{self._name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
        place = line if self._lines else way
        if isinstance(node, yaml.MappingNode):
            names = [_name(key) for key, _ in node.value]
            values = [
                self.view(value, depth + 1, f"{way}.{name}") for name, (_, value) in zip(names, node.value, strict=True)
            ]
            return View(dict(zip(names, values, strict=True)), place)
        if isinstance(node, yaml.SequenceNode):
            return View([self.view(one, depth + 1, f"{way}[{i}]") for i, one in enumerate(node.value)], place)
        return View(None if node.tag == "tag:yaml.org,2002:null" else _scalar(node), place)


def _name(node: yaml.Node) -> str:
    """A field's name as in the definition of its message; names that people choose have dots, dashes or underscores."""
    text = str(node.value)
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", text) if _CAMEL.fullmatch(text) else text


def _scalar(node: yaml.Node) -> Any:  # noqa: ANN401 - a scalar of YAML
    if node.tag == "tag:yaml.org,2002:bool":
        return node.value.lower() in ("true", "yes", "on")
    return node.value
