"""The functions `within`: a workload within a SPIFFE pattern, a client within a network."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from authz_server.identity.spiffe import InvalidSpiffePattern, SpiffePattern, parse_spiffe_pattern

Network = IPv4Network | IPv6Network


class InvalidArgument(ValueError):
    """An argument of `within` that is no pattern or network. `offset` counts characters from 0."""

    def __init__(self, message: str, offset: int, hint: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint


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
