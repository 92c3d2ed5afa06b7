"""What is unusual about a request, for the record of its decision: with it, other policies can be asked again."""

from collections.abc import Mapping
from typing import Any

from authz_server.request.operation import Operation

ORDINARY: Mapping[str, Any] = {}


def traits(operation: Operation, *, routed: bool, cut: bool) -> Mapping[str, Any]:
    """Only what applies is there.

    `port`: beside the host. `upgrade`: the protocols. `grpc`: by its content-type, and whether the target is that of a
    call. `routed`: the route names the service. `cut`: the recorded path is not all of it. `underscores`: a header's
    name has one.
    """
    underscores = operation.headers.names_with_underscore()
    if not (operation.is_grpc or routed or cut or underscores or operation.upgrade or operation.port is not None):
        return ORDINARY
    found: dict[str, Any] = {} if operation.port is None else {"port": operation.port}
    if operation.upgrade:
        found["upgrade"] = operation.upgrade
    if operation.is_grpc:
        found["grpc"] = "other" if operation.grpc is None else "call"
    marks = {"routed": routed, "cut": cut, "underscores": bool(underscores)}
    return found | {name: True for name, applies in marks.items() if applies}
