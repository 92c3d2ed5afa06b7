"""One request as conditions see it: variables are made when a condition first needs them."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from cel_expr_python import cel
from google.protobuf.message import Message

from authz_server.model import User, Workload
from authz_server.pb.authz.v1 import context_pb2
from authz_server.policy.conditions import variables
from authz_server.policy.conditions.needs import EVERY_KEY, Key, Needs
from authz_server.policy.conditions.variables import Unusable
from authz_server.request.operation import Operation
from authz_server.request.query import UnreadableQuery, parse_query


class EvaluationError(Exception):
    """An expression that cannot be evaluated for this request.

    The message is for operators: it names attributes and holds nothing of their values.
    """


class Evaluation:
    """One request, for any number of conditions of one service; for one thread."""

    def __init__(
        self, operation: Operation, workload: Workload | None, user: User | None, now: float, needs: Needs
    ) -> None:
        """`now` is in seconds since the epoch; `needs` are those of all expressions that will be evaluated."""
        self.operation = operation
        self.workload = workload
        self.user = user
        self.now = now
        self._needs = needs
        self._data: dict[str, Any] | None = None
        self._faults: dict[Key, str] = {}
        """Keys that are there and cannot be used, and why."""
        self._unbound: dict[str, str] = {}
        """Variables that could not be bound, and why."""
        self._activation: cel.Activation | None = None
        self._captures: Mapping[str, str] | None = None
        self._activation_with_captures: cel.Activation | None = None

    def data(self) -> dict[str, Any]:
        """Every variable that is needed and can be bound, without `path`."""
        data = self._data
        if data is None:
            data = self._data = {}
            for name in self._needs.variables:
                self._bind(data, name)
            for name, keys in self._needs.maps:
                self._bind_map(data, name, keys)
        return data

    def activation(
        self, environment: cel.Env, captures: Mapping[str, str] | None, keys: frozenset[Key]
    ) -> cel.Activation:
        """The variables for an expression that reads `keys`, and `captures` as `path` unless None.

        Raises EvaluationError where a capture cannot be used.
        """
        data = self.data()
        if self._faults and not keys.isdisjoint(self._faults):
            # Without the maps that hold them: in the engine, a key cannot be there and be an error.
            spoiled = {variable for variable, _ in keys & self._faults.keys()}
            data = {name: value for name, value in data.items() if name not in spoiled}
            return environment.Activation(data if captures is None else {**data, "path": _checked(captures)})
        if captures is None:
            if self._activation is None:
                self._activation = environment.Activation(data)
            return self._activation
        if captures is not self._captures or self._activation_with_captures is None:
            self._activation_with_captures = environment.Activation({**data, "path": _checked(captures)})
            self._captures = captures
        return self._activation_with_captures

    def why_unusable(self, variable: str, keys: frozenset[Key]) -> str | None:
        """Why a variable is not bound for an expression that reads `keys`."""
        faults = [why for key, why in self._faults.items() if key[0] == variable and key in keys]
        return faults[0] if faults else self._unbound.get(variable)

    def _bind(self, data: dict[str, Any], name: str) -> None:
        try:
            value = _VARIABLES[name](self)
        except (ValueError, OverflowError) as error:
            # A lone surrogate, or a time beyond what a timestamp can hold.
            self._unbound[name] = (
                f"`{name}` holds a {'text' if isinstance(error, UnicodeError) else 'time'} out of range"
            )
            return
        if value is None:
            self._unbound[name] = f"there is no `{name}`"
        else:
            data[name] = value

    def _bind_map(self, data: dict[str, Any], name: str, keys: tuple[str, ...] | None) -> None:
        try:
            all_keys, read = _MAPS[name](self)
        except Unusable as error:
            self._unbound[name] = str(error)
            return
        values = {}
        for key in all_keys() if keys is None else keys:
            try:
                variables.checked_text(key)
                value = read(key)
            except Unusable as error:
                self._faults[name, key] = self._faults[name, EVERY_KEY] = f"`{name}`: {error}"
                continue
            if value is not variables.ABSENT:
                values[key] = value
        data[name] = values


MapReader = tuple[Callable[[], Iterable[str]], Callable[[str], object]]
"""All keys of a map, and the value of one."""


def _header_map(evaluation: Evaluation) -> MapReader:
    return evaluation.operation.headers.names, partial(variables.header_value, evaluation.operation)


def _header_values_map(evaluation: Evaluation) -> MapReader:
    return evaluation.operation.headers.names, partial(variables.header_values, evaluation.operation)


def _query_map(evaluation: Evaluation) -> MapReader:
    try:
        query = parse_query(evaluation.operation.query_text)
    except UnreadableQuery as error:
        raise Unusable(str(error)) from error
    return query.keys, lambda name: variables.checked(query.get(name, variables.ABSENT))


def _claims_map(evaluation: Evaluation) -> MapReader:
    if evaluation.user is None:
        raise Unusable("there is no `user`")
    claims = evaluation.user.claims
    return claims.keys, lambda name: variables.checked(claims.get(name, variables.ABSENT))


_MAPS: dict[str, Callable[[Evaluation], MapReader]] = {
    "request.headers": _header_map,
    "request.header_values": _header_values_map,
    "request.query": _query_map,
    "user.claims": _claims_map,
}


def _client(evaluation: Evaluation) -> Message | None:
    address = evaluation.operation.client_ip
    return None if address is None else context_pb2.Client(ip=str(address))


def _certificate(evaluation: Evaluation) -> Message | None:
    workload = evaluation.workload
    certificate = None if workload is None else workload.certificate
    return None if certificate is None else variables.certificate_message(certificate)


def _destination(evaluation: Evaluation) -> Message | None:
    host, port = evaluation.operation.destination_host, evaluation.operation.destination_port
    return context_pb2.Destination(host=host, port=port) if host and port is not None else None


def _grpc(evaluation: Evaluation) -> Message | None:
    call = evaluation.operation.grpc
    return None if call is None else context_pb2.Grpc(service=call[0], method=call[1])


_VARIABLES: dict[str, Callable[[Evaluation], Any]] = {
    "request": lambda evaluation: variables.request_message(evaluation.operation),
    "workload": lambda evaluation: evaluation.workload and variables.workload_message(evaluation.workload),
    "user": lambda evaluation: evaluation.user and variables.user_message(evaluation.user),
    "client": _client,
    "certificate": _certificate,
    "destination": _destination,
    "grpc": _grpc,
    "now": lambda evaluation: variables.timestamp_value(evaluation.now),
    "has_user": lambda evaluation: evaluation.user is not None,
    "has_workload": lambda evaluation: evaluation.workload is not None,
}


def _checked(captures: Mapping[str, str]) -> dict[str, str]:
    try:
        return {name: variables.checked_text(value) for name, value in captures.items()}
    except Unusable as error:
        raise EvaluationError(f"`path`: {error}") from error
