"""What to say about a demand of a rule that a request does not meet: what came, and what is wanted.

Subjects and claims are the user's own and are not repeated. What is shown is shortened where it is long.
"""

from collections.abc import Collection, Iterable

from authz_server.policy.callers import Caller
from authz_server.policy.plan import CallerItem, OperationItem, UserItem
from authz_server.request.operation import Operation

_SHOWN = 3


def protocol_misfit(item: OperationItem, operation: Operation) -> str:
    """Upgrade and CONNECT, which an allow rule has to name."""
    if item.connect != operation.is_connect:
        return "CONNECT: only a request of that kind fits" if item.connect else "CONNECT: the rule does not name it"
    came = f"`{operation.upgrade}` came" if operation.upgrade else "none came"
    return f"upgrade: {came}, the rule names {f'`{item.upgrade}`' if item.upgrade else 'none'}"


def path_misfit(item: OperationItem, operation: Operation) -> str:
    """The path, or the gRPC call."""
    if item.grpc is not None:
        return f"gRPC: `{operation.path_text}` is no call of {item.grpc.service} {_some(item.grpc.methods)}".rstrip()
    return f"path: `{operation.path_text}` fits none of {_some(item.paths)}"


def method_misfit(item: OperationItem, operation: Operation) -> str:
    """The method."""
    return f"method: {operation.method} is none of {_some(item.methods)}"


def host_misfit(item: OperationItem, operation: Operation) -> str:
    """The host."""
    return f"host: `{operation.host}` fits none of {_some(item.hosts)}"


def port_misfit(item: OperationItem, operation: Operation) -> str:
    """The port that the request came in at."""
    came = "unknown" if operation.destination_port is None else operation.destination_port
    return f"port: {came} is none of {_some(map(str, item.ports))}"


def workload_misfit(item: CallerItem, caller: Caller) -> str:
    """The calling workload."""
    came = "none came, wanted is one of" if caller.workload is None else f"`{caller.workload.id.text}` fits none of"
    return f"workload: {came} {_some(item.workloads)}"


def user_misfit() -> str:
    """That there is no user at all."""
    return "user: no token came"


def issuer_misfit(item: UserItem, caller: Caller) -> str:
    """Who signed the user's token."""
    if caller.user is None:
        return f"user: the issuer has to be `{item.issuer}`"
    return f"user: the issuer is `{caller.user.issuer}`, not `{item.issuer}`"


def subject_misfit(item: UserItem, _caller: Caller) -> str:
    """Who the user is."""
    return f"user: the subject is none of {_some(item.subjects)}"


def scope_misfit(item: UserItem, caller: Caller) -> str:
    """Scopes, all of which are wanted."""
    had = frozenset[str]() if caller.user is None else caller.user.scopes
    return f"user: the scopes lack {_some(scope for scope in item.scopes if scope not in had)}{_has(had)}"


def role_misfit(item: UserItem, caller: Caller) -> str:
    """Roles, one of which is wanted."""
    return f"user: the roles have none of {_some(item.roles)}{_has(() if caller.user is None else caller.user.roles)}"


def group_misfit(item: UserItem, caller: Caller) -> str:
    """Groups, one of which is wanted."""
    return (
        f"user: the groups have none of {_some(item.groups)}{_has(() if caller.user is None else caller.user.groups)}"
    )


def claim_misfit(name: str) -> str:
    """A claim, which has another value or is missing."""
    return f"user: the claim `{name}` has none of the values wanted"


def actor_misfit(item: UserItem, caller: Caller) -> str:
    """Who acts on behalf of the user."""
    actor = None if caller.user is None else caller.user.actor
    came = "nobody acts on their behalf, wanted is one of" if actor is None else "who acts on their behalf is none of"
    return f"user: {came} {_some(item.actors)}"


def network_misfit(item: CallerItem, caller: Caller) -> str:
    """The client's address."""
    came = "the client's address is not known" if caller.ip is None else f"{caller.ip} is in none of"
    return f"network: {came}{'; wanted is' if caller.ip is None else ''} {_some(item.networks)}"


def anonymous_misfit() -> str:
    """That the caller has said who it is."""
    return "anonymous: the caller has an identity"


def _has(names: Collection[str]) -> str:
    return f" (has {_some(sorted(names)) or 'none'})"


def _some(wanted: Iterable[str]) -> str:
    """The first few."""
    every = [f"`{each}`" for each in wanted]
    more = [f"{len(every) - _SHOWN} more"] if len(every) > _SHOWN else []
    return ", ".join([*every[:_SHOWN], *more])
