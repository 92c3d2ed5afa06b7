"""The CEL environment of conditions: variables, functions and libraries, the same for compiling and for running."""

from cel_expr_python import cel
from google.protobuf.message import Message

from authz_server.pb.authz.v1 import context_pb2
from authz_server.policy.conditions.within import Within

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
    "path": cel.Type.Map(_STRING, _STRING),
}
"""Variables whose keys may be missing. The dot is part of the name."""

SCALARS: dict[str, cel.Type] = {
    "now": cel.Type.TIMESTAMP,
    "has_user": cel.Type.BOOL,
    "has_workload": cel.Type.BOOL,
}
"""Variables that are always bound."""

_LIBRARIES = "extensions: [{name: strings}, {name: sets}, {name: encoders}]"


def new_environment() -> cel.Env:
    """An environment; expressions evaluate only with activations of the environment that loaded them."""
    types = {name: cel.Type(message.DESCRIPTOR.full_name) for name, message in MESSAGES.items()}
    environment = cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_LIBRARIES),
        variables={**types, **MAPS, **SCALARS},
        functions=[_within(types)],
    )
    # Until an environment has compiled something, it refuses values of `now` ("Non-CEL value type").
    environment.compile("true")
    return environment


def _within(types: dict[str, cel.Type]) -> cel.FunctionDecl:
    # The engine calls one implementation for all overloads of a member. A second one would be accepted here and
    # make every evaluation fail.
    overloads = [
        cel.Overload(
            "workload_within",
            return_type=cel.Type.BOOL,
            parameters=[types["workload"], _STRING],
            is_member=True,
            impl=Within(),
        ),
        cel.Overload(
            "client_within",
            return_type=cel.Type.BOOL,
            parameters=[types["client"], _STRING],
            is_member=True,
        ),
    ]
    return cel.FunctionDecl("within", overloads)
