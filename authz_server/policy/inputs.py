"""What the rules of a service read of a request, as the audit record shows it: bounded, and only what is named.

It shows secrets as well; the record replaces them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from authz_server.policy.conditions import Evaluation
from authz_server.policy.conditions.bindings import EVERY_KEY, FIELDS, SOURCES, split_read
from authz_server.policy.conditions.values import Unusable
from authz_server.request.headers import HeaderUnusable

MAX_NAMES = 32
MAX_CHARACTERS = 256
MAX_ELEMENTS = 32

RECORDED = frozenset(
    {
        "client.ip",
        "now",
        "request.host",
        "request.id",
        "request.method",
        "request.path",
        "user.actor",
        "user.issuer",
        "user.subject",
        "workload.id",
        "workload.segments",
        "workload.trust_domain",
    }
)
"""What every record says anyhow."""
_FROM_RECORDED = frozenset({"path", "workload.within", "client.within"})

_ABSENT = object()
_UNREADABLE = object()
"""There may be a value, of which nobody can tell."""


class Input(NamedTuple):
    """One of the names, and how to read it; `_ABSENT` where there is nothing."""

    name: str
    read: Callable[[Evaluation], object]


class Inputs(NamedTuple):
    """What was read of one request."""

    found: Mapping[str, object]
    """Name -> value, as JSON can hold it."""
    absent: tuple[str, ...] = ()
    """What the request does not have. What can be had and not be read, such as a body, is in neither."""


NO_INPUTS = Inputs({})


def inputs_of(names: Iterable[str]) -> tuple[Input, ...]:
    """How to read what `Service.inputs` names; made once for a snapshot. Beyond 32 names the last are left out."""
    found = [Input(name, reader) for name in names if (reader := _reader(name)) is not None]
    return tuple(found[:MAX_NAMES])


def read_inputs(evaluation: Evaluation, inputs: Iterable[Input]) -> Inputs:
    """The values that can be had, as JSON can hold them; long ones are cut, and say so."""
    values: dict[str, object] = {}
    absent: list[str] = []
    for name, read in inputs:
        value = read(evaluation)
        if value is _ABSENT:
            absent.append(name)
        elif value is not _UNREADABLE:
            values[name] = value if type(value) is str and len(value) <= MAX_CHARACTERS else _bounded(value)
    return Inputs(values, tuple(absent))


def _reader(name: str) -> Callable[[Evaluation], object] | None:
    variable, part = split_read(name)
    if name in RECORDED or variable in _FROM_RECORDED:
        return None
    if variable in FIELDS:
        return partial(_field, variable, FIELDS[variable][part])
    if variable == "user.claims":
        return partial(_claim, name.removeprefix("user.claims")[1:] if name.startswith("user.claims.") else part)
    if part == EVERY_KEY or (variable == "metadata" and name.endswith("]")):
        # Nobody chose to have these recorded, and there may be anything among them.
        return None
    if variable == "metadata":
        return partial(_metadata, part, name.rpartition("]")[2].split(".")[1:])
    if variable == "body":
        return partial(_body, name.split(".")[1:] if name.startswith("body.") else [part])
    if variable == "has_body":
        return _has_body
    if variable == "has_user":
        return lambda evaluation: evaluation.user is not None
    if variable == "has_workload":
        return lambda evaluation: evaluation.workload is not None
    return partial(_query if variable == "request.query" else _header, part)


def _field(variable: str, read: Callable[[object], object], evaluation: Evaluation) -> object:
    source = SOURCES[variable](evaluation)
    return _ABSENT if source is None else read(source)


def _header(name: str, evaluation: Evaluation) -> object:
    headers = evaluation.operation.headers
    try:
        return headers.single(name)
    except HeaderUnusable:
        pass
    try:
        return headers.values(name)
    except HeaderUnusable:
        return _ABSENT if headers.raw(name) is None else _UNREADABLE


def _query(name: str, evaluation: Evaluation) -> object:
    try:
        return evaluation.query().get(name, _ABSENT)
    except Unusable:
        return _UNREADABLE


def _claim(name: str, evaluation: Evaluation) -> object:
    """A claim by its whole name, else as a dotted path; `*` is all of them."""
    if evaluation.user is None:
        return _ABSENT
    claims = evaluation.user.claims
    if name == EVERY_KEY or name in claims:
        return claims if name == EVERY_KEY else claims[name]
    return _member(claims, name.split("."))


def _has_body(evaluation: Evaluation) -> object:
    try:
        return evaluation.has_body
    except Unusable:
        return _UNREADABLE


def _body(keys: Sequence[str], evaluation: Evaluation) -> object:
    """A member of the body, where a rule has read it."""
    return _member(evaluation.body(), keys) if evaluation.body_was_read else _UNREADABLE


def _metadata(namespace: str, keys: Sequence[str], evaluation: Evaluation) -> object:
    try:
        written = evaluation.metadata(namespace)
    except Unusable:
        return _UNREADABLE
    return _ABSENT if written is None else _member(written, keys)


def _member(value: object, keys: Iterable[str]) -> object:
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def _bounded(value: object) -> object:
    if isinstance(value, str):
        more = len(value) - MAX_CHARACTERS
        return value if more <= 0 else f"{value[:MAX_CHARACTERS]}[+{more} characters]"
    if isinstance(value, list | tuple):
        items = [
            item if type(item) is str and len(item) <= MAX_CHARACTERS else _bounded(item)
            for item in value[:MAX_ELEMENTS]
        ]
        return items if len(value) <= MAX_ELEMENTS else [*items, f"[+{len(value) - MAX_ELEMENTS} elements]"]
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    # Last: to ask an abstract class takes ten times as long.
    if isinstance(value, Mapping):
        kept = {str(_bounded(key)): _bounded(item) for key, item in list(value.items())[:MAX_ELEMENTS]}
        return kept if len(value) <= MAX_ELEMENTS else kept | {"cut": f"[+{len(value) - MAX_ELEMENTS} entries]"}
    return value
