"""Who may call Check over mTLS. The handshake has proved that a client CA signed the certificate; here it is named."""

import time
from collections.abc import Callable, Iterable

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from authz_server.bounds import KIB, MIB, Bound
from authz_server.identity.cache import BoundedCache
from authz_server.identity.spiffe import InvalidSpiffeId, parse_spiffe_id, parse_spiffe_pattern
from authz_server.worker.messages import FINGERPRINT

CALLERS = Bound(
    "callers of Check",
    "worker",
    entries=256,
    bytes=MIB,
    holds="Whether a certificate may call Check, with mTLS.",
    full="The oldest goes, and is read again.",
    kept_in=("Peers._known",),
)
_ENTRY_BYTES = KIB // 2


class _Verdict(Struct, frozen=True):
    allowed: bool
    not_after: float


class Peers:
    """The certificates that may call."""

    def __init__(self, clients: Iterable[str], clock: Callable[[], float] = time.time) -> None:
        """`clients` holds SPIFFE patterns, and fingerprints behind `sha256:`. Raises InvalidSpiffePattern."""
        names = tuple(clients)
        self._fingerprints = frozenset(n.removeprefix(FINGERPRINT) for n in names if n.startswith(FINGERPRINT))
        self._patterns = [parse_spiffe_pattern(n) for n in names if not n.startswith(FINGERPRINT)]
        self._clock = clock
        self._known = BoundedCache[bytes, _Verdict](CALLERS.entries, CALLERS.bytes)

    def may_call(self, pem: bytes | None) -> bool:
        """Whether the peer's certificate is named, and still valid on a connection that may have outlived it."""
        if pem is None:
            return False
        verdict = self._known.get(pem)
        if verdict is None:
            verdict = self._judge(pem)
            self._known.put(pem, verdict, _ENTRY_BYTES + len(pem))
        return verdict.allowed and self._clock() < verdict.not_after

    def _judge(self, pem: bytes) -> _Verdict:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            not_after = certificate.not_valid_after_utc.timestamp()
            named = certificate.fingerprint(SHA256()).hex() in self._fingerprints or self._fits(certificate)
        except ValueError:
            return _Verdict(False, 0.0)
        return _Verdict(named, not_after)

    def _fits(self, certificate: x509.Certificate) -> bool:
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            # X509-SVID section 2: exactly one URI SAN.
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
            identity = parse_spiffe_id(uris[0]) if len(uris) == 1 else None
        except (x509.ExtensionNotFound, x509.DuplicateExtension, InvalidSpiffeId):
            return False
        return identity is not None and any(pattern.matches(identity) for pattern in self._patterns)
