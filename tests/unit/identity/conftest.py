"""Keys and certificates, made once."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.unit.identity.certificates import Authority
from tests.unit.identity.tokens import SigningKey


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The CA of shop.example."""
    return Authority("shop CA", ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="session")
def other_authority() -> Authority:
    """A CA that has the same name and another key."""
    return Authority("shop CA", ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="session")
def es256() -> SigningKey:
    """The signing key of an issuer."""
    return SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", "k-es256")


@pytest.fixture(scope="session")
def other_es256() -> SigningKey:
    """A key that has the same name and is somebody else's."""
    return SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", "k-es256")


@pytest.fixture(scope="session")
def rs256() -> SigningKey:
    """The RSA key of an issuer."""
    return SigningKey(rsa.generate_private_key(65537, 2048), "RS256", "k-rs256")


@pytest.fixture(scope="session")
def all_keys(es256: SigningKey, rs256: SigningKey) -> dict[str, SigningKey]:
    """A signing key for each algorithm."""
    keys = [
        es256,
        SigningKey(ec.generate_private_key(ec.SECP384R1()), "ES384", "k-es384"),
        SigningKey(ec.generate_private_key(ec.SECP521R1()), "ES512", "k-es512"),
        SigningKey(ed25519.Ed25519PrivateKey.generate(), "EdDSA", "k-eddsa"),
    ]
    keys += [
        SigningKey(rs256.private_key, algorithm, f"k-{algorithm.lower()}")
        for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    ]
    return {key.algorithm: key for key in keys}
