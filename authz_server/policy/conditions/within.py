"""The function `within`: a workload within a SPIFFE pattern, a client within a network."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from authz_server.identity.spiffe import InvalidSpiffePattern, SpiffePattern, parse_spiffe_pattern
from authz_server.model import SpiffeId
from authz_server.pb.authz.v1 import context_pb2

Network = IPv4Network | IPv6Network


class InvalidArgument(ValueError):  # noqa: N818
    """An argument of `within` that is no pattern or network. `offset` counts characters from 0."""

    def __init__(self, message: str, offset: int, hint: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint


class Within:
    """The one implementation, which tells its overloads apart by the type of the subject.

    Arguments are literals, so what it remembers of them is bounded by the policies.
    """

    def __init__(self) -> None:
        self._patterns: dict[str, SpiffePattern] = {}
        self._networks: dict[str, Network] = {}

    def __call__(self, subject: context_pb2.Workload | context_pb2.Client, argument: str) -> bool:
        """Whether the subject is within. An exception becomes an error of the evaluation."""
        if isinstance(subject, context_pb2.Workload):
            pattern = self._patterns.get(argument)
            if pattern is None:
                pattern = self._patterns[argument] = workload_pattern(argument)
            return pattern.matches(SpiffeId(subject.id, subject.trust_domain, tuple(subject.segments)))
        if isinstance(subject, context_pb2.Client):
            network = self._networks.get(argument)
            if network is None:
                network = self._networks[argument] = client_network(argument)
            return ip_address(subject.ip) in network
        raise TypeError("within is about a workload or a client")


def workload_pattern(text: str) -> SpiffePattern:
    """The pattern of `workload.within`. Raises InvalidArgument."""
    try:
        return parse_spiffe_pattern(text)
    except InvalidSpiffePattern as error:
        raise InvalidArgument(str(error), error.offset, error.hint) from error


def client_network(text: str) -> Network:
    """The network of `client.within`. Raises InvalidArgument."""
    try:
        loose = ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidArgument(f"`{text}` is not a network", 0, "write a CIDR such as `10.0.0.0/8`") from error
    try:
        return ip_network(text)
    except ValueError as error:
        raise InvalidArgument(f"the network `{text}` has host bits", 0, f"did you mean `{loose}`?") from error
