"""The CEL environments of conditions: variables, functions and libraries.

`workload.within` and `client.within` are functions where expressions are checked, and maps from their literal
argument to the answer where expressions are evaluated: the engine leaks up to 700 bytes at each call of a function
that is implemented in Python.
"""

from cel_expr_python import cel
from google.protobuf.message import Message

from authz_server.pb.authz.v1 import context_pb2

_STRING = cel.Type.STRING
_STRINGS = cel.Type.List(_STRING)

MESSAGES: dict[str, type[Message]] = {
    "request": context_pb2.Request,
    "workload": context_pb2.Workload,
    "user": context_pb2.User,
    "client": context_pb2.Client,
    "certificate": context_pb2.Certificate,
    "destination": context_pb2.Destination,
    "grpc": context_pb2.Grpc,
}
"""Variables whose fields are always there, where the variable is bound."""

MAPS: dict[str, cel.Type] = {
    "request.headers": cel.Type.Map(_STRING, _STRING),
    "request.header_values": cel.Type.Map(_STRING, _STRINGS),
    "request.query": cel.Type.Map(_STRING, _STRINGS),
    "user.claims": cel.Type.Map(_STRING, cel.Type.DYN),
    "metadata": cel.Type.Map(_STRING, cel.Type.DYN),
    "path": cel.Type.Map(_STRING, _STRING),
}
"""Variables whose keys may be missing. The dot is part of the name."""

DYNAMIC: dict[str, cel.Type] = {"body": cel.Type.DYN}
"""Variables that may be of any type."""

SCALARS: dict[str, cel.Type] = {
    "now": cel.Type.TIMESTAMP,
    "has_user": cel.Type.BOOL,
    "has_workload": cel.Type.BOOL,
    "has_body": cel.Type.BOOL,
}
"""Variables that are always bound, but for `has_body` where nobody can tell."""

WITHIN: dict[str, cel.Type] = {
    "workload.within": cel.Type.Map(_STRING, cel.Type.BOOL),
    "client.within": cel.Type.Map(_STRING, cel.Type.BOOL),
}
"""Where expressions are evaluated: the answers of `within`."""

_LIBRARIES = "extensions: [{name: strings}, {name: sets}, {name: encoders}]"
_MESSAGE_TYPES = {name: cel.Type(message.DESCRIPTOR.full_name) for name, message in MESSAGES.items()}


def checking_environment() -> cel.Env:
    """For compiling; what it compiles is not for evaluation as it is."""
    overloads = [
        cel.Overload(f"{name}_within", cel.Type.BOOL, [_MESSAGE_TYPES[name], _STRING], is_member=True)
        for name in ("workload", "client")
    ]
    return _environment({}, [cel.FunctionDecl("within", overloads)])


def evaluating_environment() -> cel.Env:
    """For evaluation; expressions evaluate only with activations of the environment that loaded them."""
    environment = _environment(WITHIN, [])
    # Until an environment has compiled something, it refuses values of `now` ("Non-CEL value type").
    environment.compile("true")
    return environment


def _environment(more: dict[str, cel.Type], functions: list[cel.FunctionDecl]) -> cel.Env:
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_LIBRARIES),
        variables={**_MESSAGE_TYPES, **MAPS, **DYNAMIC, **SCALARS, **more},
        functions=functions,
    )
