"""The signature algorithms that tokens may use (RFC 7518 section 3.1, RFC 8037 section 3.1).

Asymmetric ones only: whoever can verify one of these signatures cannot make it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {
        "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
        "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
        "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
        "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
        "PS384": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384),
        "PS512": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512),
        "ES256": ECAlgorithm(ECAlgorithm.SHA256, SECP256R1),
        "ES384": ECAlgorithm(ECAlgorithm.SHA384, SECP384R1),
        "ES512": ECAlgorithm(ECAlgorithm.SHA512, SECP521R1),
        "EdDSA": OKPAlgorithm(),
    }
)

_OF_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_OF_CURVE = {
    ("EC", "P-256"): "ES256",
    ("EC", "P-384"): "ES384",
    ("EC", "P-521"): "ES512",
    ("OKP", "Ed25519"): "EdDSA",
}


def algorithms_of(key_type: str, curve: str | None) -> frozenset[str]:
    """The algorithms that a key of this type (`kty`) and curve (`crv`) can serve; none if it is not known."""
    if key_type == "RSA":
        return _OF_RSA
    algorithm = _OF_CURVE.get((key_type, curve or ""))
    return frozenset() if algorithm is None else frozenset({algorithm})
