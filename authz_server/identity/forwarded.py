"""Whose word about callers behind them is taken, and what they say."""

from authz_server.errors import Reason, Refused
from authz_server.identity.settings import ForwardedCallers
from authz_server.identity.spiffe import parse_spiffe_pattern
from authz_server.identity.xfcc import HEADER, Element, InvalidXfcc, caller_behind, parse_xfcc, without_own
from authz_server.model import SpiffeId, Workload

Headers = tuple[tuple[str, bytes], ...]


class ForwardedReader:
    """Finds the caller behind trusted proxies. Raises InvalidSpiffePattern."""

    def __init__(self, settings: ForwardedCallers) -> None:
        self._hops = [parse_spiffe_pattern(pattern) for pattern in settings.hops]
        self._appended = settings.appended

    def is_hop(self, identity: SpiffeId) -> bool:
        """Whether this is a proxy whose word is taken."""
        return any(hop.matches(identity) for hop in self._hops)

    def caller(self, headers: Headers, peer: Workload) -> Element | None:
        """What a hop says of its peer; None where that showed no certificate. Raises Refused (`workload_refused`)."""
        values = [value for name, value in headers if name.lower() == HEADER]
        if not values and not self._appended:
            return None
        try:
            elements = parse_xfcc(b",".join(values))
            if self._appended:
                fingerprint = None if peer.certificate is None else peer.certificate.fingerprint
                elements = without_own(elements, peer.id, fingerprint)
            return caller_behind(elements, peer.id, self.is_hop)
        except InvalidXfcc as error:
            raise Refused(Reason.WORKLOAD_REFUSED, f"`{HEADER}` is not acceptable: {error}") from error
