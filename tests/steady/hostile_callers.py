"""Requests as hostile callers make them: each is one that nobody has sent before."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import DNSName, SubjectAlternativeName, UniformResourceIdentifier

from authz_server.identity.api_keys import make_secret
from tests.security.server import Ask
from tests.unit.identity.certificates import Authority
from tests.unit.identity.proofs import bound_to, claims_of_proof
from tests.unit.identity.tokens import CORP, SigningKey, encoded, encoded_json, jwks

HOST = "orders.shop.example"
VERIFIED, BELIEVED = "shop.example", "partner.example"
"""Trust domains: with a bundle, and without one, where Envoy's verification counts alone."""
_NUMBER = "0123456789abcdef"
_ID = f"spiffe://{{domain}}/ns/a/sa/{_NUMBER}"
_ESCAPED = {ord(character): f"%{ord(character):02X}" for character in " \n+/="}
_SERIAL = 0x7A5A5A5A5A5A5A5A
_LONGEST_PATH, _LONGEST_CERTIFICATE = 6_000, 7_000


class HostileCallers:
    """Makes requests of every kind; the same seed makes the same ones, but for keys and times."""

    def __init__(self, seed: int, now: float) -> None:
        """`now` is in seconds since the epoch."""
        self.random = Random(seed)  # to be had again, protects nothing
        self.key = SigningKey(Ed25519PrivateKey.generate(), "EdDSA", "k1")
        """Of the issuer."""
        self.authority = Authority("CA", *(ec.generate_private_key(ec.SECP256R1()) for _ in range(2)))
        self._now = now
        self._made = 0
        self._claims = {"iss": CORP, "aud": "shop", "sub": "eve", "exp": now + 3600, "iat": now - 60}
        self._verified, self._believed = self._leaf(VERIFIED), self._leaf(BELIEVED)
        self._large = self._leaf(VERIFIED, names=_LONGEST_CERTIFICATE // 64)
        self._proof_key = SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", None)
        self._bound = self.key.token({**self._claims, "cnf": bound_to(self._proof_key)})
        self.kinds: Mapping[str, Callable[[], Ask]] = {
            "kids": self._unknown_kid,
            "signatures": self._bad_signature,
            "opaque_tokens": self._opaque_token,
            "users": self._good_token,
            "api_keys": self._api_key,
            "svids": self._svid,
            "proofs": self._proof,
            "paths": self._path,
            "hosts": self._host,
            "headers": self._headers,
            "addresses": self._address,
            "certificates": lambda: self._certificate(self._verified, VERIFIED),
            "large_certificates": lambda: self._certificate(self._large, VERIFIED),
            "workloads": lambda: self._certificate(self._believed, BELIEVED),
            "broken_certificates": self._broken_certificate,
        }
        """By what is never the same in them."""

    def bundle(self) -> bytes:
        """The bundle of the verified trust domain: its CA, and a key of JWT-SVIDs."""
        der = self.authority.certificate().public_bytes(Encoding.DER)
        authority = {"use": "x509-svid", "kty": "EC", "crv": "P-256", "x5c": [b64encode(der).decode()]}
        return jwks(authority, self._proof_key.jwk(use="jwt-svid", kid="s1", alg=None))

    def ask(self, kind: str) -> Ask:
        """A request of this kind."""
        self._made += 1
        return self.kinds[kind]()

    def _unique(self) -> str:
        return f"{self._made:08x}{self.random.getrandbits(32):08x}"

    def _padding(self, longest: int) -> str:
        """Mostly short, now and then as long as it may be."""
        return "x" * (self.random.randrange(longest) if self.random.random() < 0.1 else 8)

    def _with_token(self, token: str, scheme: str = "Bearer", *more: tuple[str, str]) -> Ask:
        return Ask(path="/me", headers=[("authorization", f"{scheme} {token}"), *more])

    def _unsigned(self, header: Mapping[str, object], claims: Mapping[str, object]) -> str:
        return f"{encoded_json(header)}.{encoded_json(claims)}.{encoded(self.random.randbytes(64))}"

    def _unknown_kid(self) -> Ask:
        claims = {**self._claims, "jti": self._padding(4_000)}
        return self._with_token(self._unsigned({"alg": "EdDSA", "kid": self._unique()}, claims))

    def _bad_signature(self) -> Ask:
        claims = {**self._claims, "jti": self._unique(), "scope": self._padding(4_000)}
        return self._with_token(self._unsigned({"alg": "EdDSA", "kid": "k1"}, claims))

    def _opaque_token(self) -> Ask:
        return self._with_token(self._unique() + self._padding(4_000))

    def _good_token(self) -> Ask:
        """One in a hundred is signed by the issuer: an own user is hostile, and it does not give a million tokens."""
        if self.random.random() > 0.01:
            return self._bad_signature()
        return self._with_token(self.key.token({**self._claims, "sub": self._unique(), "scope": "a b c"}))

    def _api_key(self) -> Ask:
        text, _ = make_secret(f"{self._made:012d}")
        return Ask(path="/me", headers=[("x-api-key", text)])

    def _svid(self) -> Ask:
        claims = {"aud": "orders", "sub": f"spiffe://{VERIFIED}/{self._unique()}", "exp": self._now + 300}
        return Ask(
            path="/list",
            headers=[
                (
                    "x-jwt-svid",
                    self._unsigned({"alg": "ES256", "kid": self.random.choice(("s1", self._unique()))}, claims),
                )
            ],
        )

    def _proof(self) -> Ask:
        public = self._proof_key.jwk(alg=None, use=None)
        claims = claims_of_proof(self._bound, jti=self._unique(), htu=f"https://{HOST}/me", iat=int(self._now))
        proof = self._unsigned({"alg": "ES256", "typ": "dpop+jwt", "jwk": public}, claims)
        return self._with_token(self._bound, "DPoP", ("dpop", proof))

    def _path(self) -> Ask:
        inside = self.random.choice(("/", "%2F", "//", ";a=", "?q=", "/../", "%2e/"))
        host = self.random.choice((HOST, "files.shop.example"))
        return Ask(host=host, path=f"/{self._unique()}{inside}{self._padding(_LONGEST_PATH)}")

    def _host(self) -> Ask:
        name = f"{self._unique()}.{self._padding(200)}.example"
        return Ask(host=self.random.choice((name, name.upper(), f"{name}:8443", f"[2001:db8::{self._unique()[:4]}]")))

    def _headers(self) -> Ask:
        names = [(f"x-{self._unique()}-{number}", self._padding(2_000)) for number in range(self.random.randrange(40))]
        accept = ("accept", f"text/{self._unique()};q=0.{self._made % 10}, {self._padding(900)}/*")
        return Ask(headers=[*names, accept, ("cookie", self._padding(4_000))])

    def _address(self) -> Ask:
        ours = ":".join(f"{self.random.getrandbits(16):x}" for _ in range(8))
        proxy = f"10.{self._made >> 16 & 255}.{self._made >> 8 & 255}.{self._made & 255}"
        return Ask(address=proxy, headers=[("x-forwarded-for", f"{ours}, {proxy}")])

    def _certificate(self, der: bytes, domain: str) -> Ask:
        """Well formed, with another serial number and SPIFFE ID; no CA of ours has signed it."""
        unique = self._unique().encode()
        serial = b"\x7a" + self.random.randbytes(3) + self._made.to_bytes(4, "big")
        changed = der.replace(_NUMBER.encode(), unique).replace(_SERIAL.to_bytes(8, "big"), serial)
        principal = _ID.format(domain=domain).replace(_NUMBER, unique.decode())
        return Ask(host="any.example", path="/a", certificate=_url_encoded(changed), principal=principal)

    def _broken_certificate(self) -> Ask:
        der = bytearray(self._verified)
        der[4:12] = self._made.to_bytes(8, "big")
        return Ask(path="/list", certificate=_url_encoded(bytes(der)), principal=_ID.format(domain=VERIFIED))

    def _leaf(self, domain: str, names: int = 0) -> bytes:
        """A leaf of this trust domain, with so many other names."""
        uri = UniformResourceIdentifier(_ID.format(domain=domain))
        others = [DNSName(f"{number:04}.{'x' * 50}.example") for number in range(names)]
        start = datetime.fromtimestamp(self._now, UTC) - timedelta(minutes=5)
        leaf = self.authority.leaf(SubjectAlternativeName([uri, *others]), start=start, serial=_SERIAL)
        return leaf.public_bytes(Encoding.DER)


def _url_encoded(der: bytes) -> str:
    text = b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n".translate(_ESCAPED)
