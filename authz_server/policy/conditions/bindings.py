"""How each variable of conditions is made from a request."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from math import floor
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from authz_server.policy.conditions.environment import DYNAMIC, MAPS, MESSAGES, SCALARS, WITHIN
from authz_server.policy.conditions.evaluation import Binding, Evaluation
from authz_server.policy.conditions.values import Unusable, checked, checked_text
from authz_server.policy.conditions.within import client_network, workload_pattern
from authz_server.request.headers import HeaderUnusable
from authz_server.request.operation import Operation

EVERY_KEY = "*"

Keys = tuple[str, ...] | None
"""Which keys of a map are read; None is all."""


def bindings(reads: Iterable[str]) -> dict[str, Binding]:
    """How to make the variables that an expression reads, with only the fields and keys that it names."""
    parts: dict[str, set[str]] = {}
    for read in reads:
        variable, part = split_read(read)
        parts.setdefault(variable, set()).add(part)
    return {variable: _binding(variable, names) for variable, names in parts.items()}


def split_read(read: str) -> tuple[str, str]:
    """Variable and field or key of a name such as `request.headers[x-team]`; the part of a scalar is "".

    Of a nested claim, `user.claims.address.city`, it is the outermost: `address`; of `metadata[a.b].c` it is `a.b`.
    """
    for variable in (*MAPS, *DYNAMIC, *WITHIN):
        if read.startswith((f"{variable}[", f"{variable}.")):
            rest = read[len(variable) :]
            return variable, rest[1 : rest.rindex("]")] if rest.startswith("[") else rest[1:].partition(".")[0]
    variable, _, part = read.partition(".")
    return variable, part


def _binding(variable: str, names: set[str]) -> Binding:
    if variable in MESSAGES:
        fields = [(name, FIELDS[variable][name]) for name in sorted(names)]
        return partial(_message, variable, fields)
    if variable in SCALARS:
        return _SCALARS[variable]
    if variable in WITHIN:
        return _WITHIN[variable](names)
    return partial(_MAPS[variable], None if EVERY_KEY in names else tuple(sorted(names)))


def _message(
    variable: str, fields: list[tuple[str, Callable[[Any], Any]]], evaluation: Evaluation, _: object
) -> object:
    source = SOURCES[variable](evaluation)
    if source is None:
        raise Unusable(f"there is no `{variable}`")
    try:
        return MESSAGES[variable](**{name: read(source) for name, read in fields})
    except (ValueError, OverflowError) as error:
        # A lone surrogate in a text, or a time beyond what a timestamp holds.
        raise Unusable(f"`{variable}` holds what conditions cannot represent") from error


def _destination(evaluation: Evaluation) -> Operation | None:
    operation = evaluation.operation
    return operation if operation.destination_host and operation.destination_port is not None else None


SOURCES: dict[str, Callable[[Evaluation], object]] = {
    "request": lambda evaluation: evaluation.operation,
    "workload": lambda evaluation: evaluation.workload,
    "user": lambda evaluation: evaluation.user,
    "client": lambda evaluation: evaluation.operation.client_ip,
    "certificate": lambda evaluation: evaluation.workload and evaluation.workload.certificate,
    "destination": _destination,
    "grpc": lambda evaluation: evaluation.operation.grpc,
}


def _path(operation: Operation) -> str:
    # Decoded, because a condition on the text as sent could be dodged with an escape.
    path = operation.path
    if not path.segments:
        return "/" if path.trailing_slash else ""
    return f"/{'/'.join(path.segments)}{'/' if path.trailing_slash else ''}"


def _timestamp(seconds: float) -> Timestamp:
    whole = floor(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1_000_000) * 1000)


FIELDS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "request": {
        "method": lambda operation: operation.method,
        "host": lambda operation: operation.host,
        "path": _path,
        "protocol": lambda operation: operation.protocol,
        "is_grpc": lambda operation: operation.is_grpc,
        "id": lambda operation: operation.id,
    },
    "workload": {
        "id": lambda workload: workload.id.text,
        "trust_domain": lambda workload: workload.id.trust_domain,
        "segments": lambda workload: workload.id.segments,
    },
    # Lists are sorted, so that no outcome depends on the order of a set.
    "user": {
        "issuer": lambda user: user.issuer,
        "subject": lambda user: user.subject,
        "scopes": lambda user: sorted(user.scopes),
        "roles": lambda user: sorted(user.roles),
        "groups": lambda user: sorted(user.groups),
        "expires": lambda user: _timestamp(user.expires),
        "actor": lambda user: "" if user.actor is None else user.actor.subject,
    },
    "client": {"ip": str},
    "certificate": {
        "serial": lambda certificate: certificate.serial,
        "fingerprint": lambda certificate: certificate.fingerprint,
        "not_before": lambda certificate: _timestamp(certificate.not_before),
        "not_after": lambda certificate: _timestamp(certificate.not_after),
    },
    "destination": {
        "host": lambda operation: operation.destination_host,
        "port": lambda operation: operation.destination_port,
    },
    "grpc": {"service": lambda call: call[0], "method": lambda call: call[1]},
}

_SCALARS: dict[str, Binding] = {
    "now": lambda evaluation, _: datetime.fromtimestamp(evaluation.now, UTC),
    "has_user": lambda evaluation, _: evaluation.user is not None,
    "has_workload": lambda evaluation, _: evaluation.workload is not None,
    "has_body": lambda evaluation, _: evaluation.has_body,
}


def _headers(keys: Keys, evaluation: Evaluation, _: object) -> dict[str, object]:
    headers = evaluation.operation.headers
    return _header_map("request.headers", keys, evaluation, headers.single)


def _header_values(keys: Keys, evaluation: Evaluation, _: object) -> dict[str, object]:
    headers = evaluation.operation.headers
    return _header_map("request.header_values", keys, evaluation, headers.values)


def _header_map(variable: str, keys: Keys, evaluation: Evaluation, read: Callable[[str], object]) -> dict[str, object]:
    headers = evaluation.operation.headers
    names = headers.names() if keys is None else [name for name in keys if headers.raw(name) is not None]
    try:
        return {name: checked(read(name)) for name in names}
    except (HeaderUnusable, Unusable) as error:
        raise Unusable(f"`{variable}`: {error}") from error


def _query(keys: Keys, evaluation: Evaluation, _: object) -> dict[str, object]:
    return _chosen("request.query", keys, evaluation.query())


def _claims(keys: Keys, evaluation: Evaluation, _: object) -> dict[str, object]:
    if evaluation.user is None:
        raise Unusable("there is no `user`")
    return _chosen("user.claims", keys, evaluation.user.claims)


def _metadata(keys: Keys, evaluation: Evaluation, _: object) -> dict[str, object]:
    try:
        found = {name: evaluation.metadata(name) for name in (evaluation.namespaces() if keys is None else keys)}
    except Unusable as error:
        raise Unusable(f"`metadata`: {error}") from error
    return {name: written for name, written in found.items() if written is not None}


def _body(keys: Keys, evaluation: Evaluation, _: object) -> object:
    value = evaluation.body()
    if keys is None or not isinstance(value, dict):
        return value
    return {key: value[key] for key in keys if key in value}


def _captures(_: Keys, __: Evaluation, captures: Mapping[str, str]) -> dict[str, object]:
    return _chosen("path", None, captures)


def _chosen(variable: str, keys: Keys, source: Mapping[str, object]) -> dict[str, object]:
    try:
        if keys is None:
            return {checked_text(key): checked(value) for key, value in source.items()}
        return {checked_text(key): checked(source[key]) for key in keys if key in source}
    except Unusable as error:
        raise Unusable(f"`{variable}`: {error}") from error


_MAPS: dict[str, Callable[[Keys, Evaluation, Mapping[str, str]], object]] = {
    "request.headers": _headers,
    "request.header_values": _header_values,
    "request.query": _query,
    "user.claims": _claims,
    "metadata": _metadata,
    "body": _body,
    "path": _captures,
}


def _workload_within(arguments: Iterable[str]) -> Binding:
    patterns = {argument: workload_pattern(argument) for argument in arguments}

    def binding(evaluation: Evaluation, _: object) -> dict[str, bool]:
        if evaluation.workload is None:
            raise Unusable("there is no `workload`")
        identity = evaluation.workload.id
        return {argument: pattern.matches(identity) for argument, pattern in patterns.items()}

    return binding


def _client_within(arguments: Iterable[str]) -> Binding:
    networks = {argument: client_network(argument) for argument in arguments}

    def binding(evaluation: Evaluation, _: object) -> dict[str, bool]:
        address = evaluation.operation.client_ip
        if address is None:
            raise Unusable("there is no `client`")
        return {argument: address in network for argument, network in networks.items()}

    return binding


_WITHIN: dict[str, Callable[[Iterable[str]], Binding]] = {
    "workload.within": _workload_within,
    "client.within": _client_within,
}
