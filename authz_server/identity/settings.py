"""What the operator says about issuers and trust domains, as plain data for the workers."""

from typing import Literal

from msgspec import Struct


class ClaimNames(Struct, frozen=True):
    """Where an issuer puts things: a claim's whole name first, then a dotted path."""

    scopes: str = "scope"
    roles: str = "roles"
    groups: str = "groups"


class Introspection(Struct, frozen=True):
    """How an issuer is asked about tokens that only it can read (RFC 7662)."""

    url: str
    client_id: str
    client_secret_file: str
    """Path of the file that holds the client's secret."""
    timeout_s: float = 0.1
    max_age_s: float = 30.0
    """How long an answer holds."""
    all_tokens: bool = False
    """The issuer has no keys: its JWTs are asked about too."""


class Issuer(Struct, frozen=True):
    """One issuer of user tokens, and what its tokens must look like."""

    name: str
    """The name that policies use."""
    issuer: str
    """The exact `iss` (RFC 7519 section 4.1.1)."""
    audiences: tuple[str, ...]
    """One of these must be in `aud` (RFC 7519 section 4.1.3)."""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    claims: ClaimNames = ClaimNames()
    max_lifetime_s: float | None = None
    """Longest `exp - iat`; with it, `iat` is required."""
    skew_s: float = 30.0
    """Tolerance for `exp`, `nbf` and `iat`; at most 60."""
    token_types: tuple[str, ...] = ("at+jwt", "JWT", "none")
    """Accepted `typ` without regard to case; `none` means absent."""
    accept_id_tokens: bool = False
    introspection: Introspection | None = None


class TrustDomain(Struct, frozen=True):
    """A trust domain whose certificates name callers."""

    name: str
    verify: bool = False
    """A bundle is configured: leaves are verified against it, and an empty bundle refuses all."""


class ForwardedCallers(Struct, frozen=True):
    """Whose word about the callers behind them is taken (`x-forwarded-client-cert`)."""

    hops: tuple[str, ...]
    """SPIFFE patterns of the proxies."""
    appended: bool = True
    """The proxy that asks appends an element about its own peer."""


class JwtSvids(Struct, frozen=True):
    """Where workloads show JWT-SVIDs, and what those must say."""

    header: str
    """Lower case; `authorization` has the scheme `Bearer`, any other the token alone."""
    audiences: tuple[str, ...]
    """One of these must be in `aud`."""
    skew_s: float = 30.0
    """Tolerance for `exp`, `nbf` and `iat`; at most 60."""


class ApiKeySettings(Struct, frozen=True):
    """Where users show API keys, and what their issuer is called."""

    name: str
    """The issuer's name that policies use."""
    header: str
    """Lower case; it holds the key alone."""


class UpstreamTokens(Struct, frozen=True):
    """What our own tokens for upstreams say, and where they stand."""

    header: str
    """Lower case; it holds the token alone."""
    issuer: str
    lifetime_s: int = 60


class Dpop(Struct, frozen=True):
    """What proofs of possession must look like (RFC 9449)."""

    algorithms: tuple[str, ...] = ("ES256",)
    max_age_s: float = 60.0
    """How long a proof can be used after it was made."""
    skew_s: float = 5.0
    """Tolerance for `iat`, both ways."""
    scheme: Literal["https", "http"] = "https"
    """Of the URLs by which clients reach the proxy."""


class IdentitySettings(Struct, frozen=True):
    """Everything that decides who may be recognised."""

    issuers: tuple[Issuer, ...] = ()
    trust_domains: tuple[TrustDomain, ...] = ()
    certificate: Literal["required", "principal"] = "required"
    """`principal` believes the proxy's reading where no certificate can be sent."""
    forwarded: ForwardedCallers | None = None
    jwt_svids: JwtSvids | None = None
    api_keys: ApiKeySettings | None = None
    dpop: Dpop | None = None
    """Without it tokens that are bound to a key are refused."""
    proxies: tuple[str, ...] = ()
    """Networks of the proxies whose `x-forwarded-for` says who the client is."""
    identity_headers: tuple[str, ...] = ()
    """Lower case; the client's copies never reach the upstream."""
    upstream_tokens: UpstreamTokens | None = None
    """None: upstreams get no token of ours."""
