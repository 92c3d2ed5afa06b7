"""Which operations an item of `to` fits, apart from method and path, which are found by index."""

from msgspec import Struct

from authz_server.policy.patterns import HostPattern, parse_host_pattern
from authz_server.policy.plan import Effect, OperationItem
from authz_server.request.operation import Operation


class OperationMatch(Struct, frozen=True):
    """What is left to ask of an operation whose method and path were found by index."""

    effect: Effect
    hosts: tuple[HostPattern, ...] = ()
    ports: frozenset[int] = frozenset()
    upgrade: str | None = None
    connect: bool = False
    is_grpc: bool = False

    def fits(self, operation: Operation) -> bool:
        """Whether the operation has all that is asked for."""
        return (
            self._protocol_fits(operation)
            and (not self.hosts or any(host.matches(operation.host, operation.port) for host in self.hosts))
            and (not self.ports or self._port_fits(operation.destination_port))
        )

    def _protocol_fits(self, operation: Operation) -> bool:
        if self.effect == "deny":
            # A deny rule holds for upgrades and CONNECT as well, unless it names only those, and for gRPC
            # whatever the content-type says: the path is what a backend goes by.
            return (self.upgrade is None or self.upgrade in operation.upgrade.split(",")) and (
                not self.connect or operation.is_connect
            )
        return (
            operation.upgrade == (self.upgrade or "")
            and operation.is_connect == self.connect
            and (not self.is_grpc or operation.grpc is not None)
        )

    def _port_fits(self, port: int | None) -> bool:
        # As with an unknown client address: what is not known never opens, and never escapes a denial.
        return self.effect == "deny" if port is None else port in self.ports


def operation_match(item: OperationItem, effect: Effect) -> OperationMatch:
    """The item, ready to be asked."""
    return OperationMatch(
        effect=effect,
        hosts=tuple(parse_host_pattern(host) for host in item.hosts),
        ports=frozenset(item.ports),
        upgrade=item.upgrade,
        connect=item.connect,
        is_grpc=item.grpc is not None,
    )
