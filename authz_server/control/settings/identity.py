"""The settings that decide who is recognised: trust domains and issuers."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from authz_server.control.settings.names import HeaderName, Name, SpiffePattern, TrustDomainName
from authz_server.control.settings.places import FilePath, Url, WorkloadEndpoint, check_url
from authz_server.control.settings.section import Section
from authz_server.documents.invalid import InvalidValue
from authz_server.documents.quantities import Duration, duration_from
from authz_server.policy.values import Network

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Asymmetric signatures (RFC 7518 section 3.1, RFC 8037); shared secrets and `none` are never accepted."""


class BundleSettings(Section):
    """The authorities of a trust domain, with which its certificates are verified here again: in a file, or at a URL.
    `bundle: certs/bundle.pem` is short for the file."""

    noun: ClassVar[str] = "`bundle`"

    file: FilePath | None = None
    """Certificates in PEM, or a SPIFFE bundle (JWKS); read again when it changes."""
    url: Url | None = Field(default=None, examples=["https://spire.shop.example/bundle"])
    """A SPIFFE bundle endpoint (`https_web`), fetched again as often as the bundle asks (`spiffe_refresh_hint`, between
    10s and 1h), otherwise every 5m."""
    workload_api: Literal[True] | None = None
    """From the SPIFFE Workload API at `workloads.workload_api`, which tells of every change."""
    max_age: Annotated[Duration, duration_from("1m", "30d")] = Field(default="1d", validate_default=True)
    """How long a bundle serves while its endpoint, or the Workload API, cannot be reached."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"file": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exactly_one(self) -> "BundleSettings":
        if sum(source is not None for source in (self.file, self.url, self.workload_api)) != 1:
            raise InvalidValue("`bundle` takes exactly one of `file`, `url` and `workload_api: true`")
        return self


class TrustDomainSettings(Section):
    """A trust domain whose certificates name callers."""

    noun: ClassVar[str] = "a trust domain"

    bundle: BundleSettings | None = None


class ForwardedSettings(Section):
    """Callers behind other proxies, by `x-forwarded-client-cert`."""

    noun: ClassVar[str] = "`xfcc`"

    hops: list[SpiffePattern] = Field(min_length=1, examples=[["spiffe://shop.example/envoy/edge"]])
    """SPIFFE patterns of the proxies whose word is taken about the callers behind them. They forward `URI`, perhaps
    `Cert`, and no DNS names (`set_current_client_cert_details: {uri: true}`)."""
    appended: bool = True
    """The Envoy that asks has `forward_client_cert_details: APPEND_FORWARD`; with `FORWARD_ONLY` write `false`."""


def _no_other_meaning(header: str, example: str) -> None:
    """Raises InvalidValue for a header that means something to proxies and upstreams."""
    if header in ("host", "cookie", "dpop") or header.startswith(("x-forwarded-", "x-envoy-")):
        raise InvalidValue("this header has a meaning of its own", hint=f"for example {example}", at=("header",))


class JwtSvidSettings(Section):
    """JWT-SVIDs as credentials of workloads, verified with the bundle of their trust domain. Whoever has seen one can
    show it: keep them short-lived, and let rules about what matters ask for a certificate."""

    noun: ClassVar[str] = "`jwt_svid`"

    header: HeaderName = Field(examples=["x-jwt-svid"])
    """The header that holds the token alone; it is never passed on to the upstream. `authorization` holds
    `Bearer <token>`, where there are no `issuers`."""
    audiences: list[str] = Field(min_length=1, examples=[["orders.shop.example"]])
    """One of these must be in a token's `aud`."""
    skew: Annotated[Duration, duration_from("0s", "60s")] = Field(default="30s", validate_default=True)
    """Tolerance for `exp`, `nbf` and `iat`; at most 60s."""

    @model_validator(mode="after")
    def _header_can_be_removed(self) -> "JwtSvidSettings":
        _no_other_meaning(self.header, "x-jwt-svid")
        return self


class WorkloadSettings(Section):
    """Who is recognised as a calling workload."""

    noun: ClassVar[str] = "`workloads`"

    trust_domains: dict[TrustDomainName, TrustDomainSettings] = Field(default_factory=dict)
    """Trust domains by name; certificates of any other are refused."""
    workload_api: WorkloadEndpoint | None = None
    """Where the Workload API listens, as `SPIFFE_ENDPOINT_SOCKET` says it: `unix:///path`, or `tcp://` and a loopback
    address."""
    certificate: Literal["required", "principal"] = "required"
    """`principal` believes the proxy's reading of the certificate, for proxies that cannot send it."""
    xfcc: ForwardedSettings | None = None
    """Without it the header is not read."""
    jwt_svid: JwtSvidSettings | None = None
    """Without it no JWT-SVIDs are taken."""

    @model_validator(mode="after")
    def _workload_api_is_known(self) -> "WorkloadSettings":
        for name, domain in self.trust_domains.items():
            if domain.bundle is not None and domain.bundle.workload_api and self.workload_api is None:
                message, hint = "it is not said where the Workload API listens", "add `workloads.workload_api`"
                raise InvalidValue(message, hint=hint, at=("trust_domains", name, "bundle", "workload_api"))
        return self

    @model_validator(mode="after")
    def _jwt_svids_need_a_bundle(self) -> "WorkloadSettings":
        if self.jwt_svid is not None and all(domain.bundle is None for domain in self.trust_domains.values()):
            raise InvalidValue("`jwt_svid` needs a trust domain with a `bundle`", at=("jwt_svid",))
        return self


class ClientSettings(Section):
    """The addresses of clients."""

    noun: ClassVar[str] = "`clients`"

    proxies: list[Network] = Field(default=[], examples=[["10.0.0.0/8"]])
    """Networks of the proxies in front of Envoy: the client's address is then the first one from the right in
    `x-forwarded-for` that is in none of them. Envoy appends its own address there where its peer is on loopback."""


class ApiKeySettings(Section):
    """API keys as credentials of users: see [API keys](api-keys.md)."""

    noun: ClassVar[str] = "`api_keys`"

    file: FilePath = Field(examples=["keys.yaml"])
    """The file that `authz keys` writes; read again when it changes. Without a good one, no key is good."""
    header: HeaderName = Field(default="x-api-key", validate_default=True)
    """The header that holds the key alone; it is never passed on to the upstream."""
    name: Name = Field(default="api-keys", validate_default=True)
    """What rules call the issuer of these users."""

    @model_validator(mode="after")
    def _header_can_be_removed(self) -> "ApiKeySettings":
        if self.header == "authorization":
            raise InvalidValue("`authorization` holds tokens", hint="for example x-api-key", at=("header",))
        _no_other_meaning(self.header, "x-api-key")
        return self


class KeySettings(Section):
    """Where an issuer's keys come from; exactly one of these."""

    noun: ClassVar[str] = "`keys`"

    discovery: Literal[True] | None = None
    """Found by OpenID Connect discovery at the issuer."""
    url: Url | None = None
    """A JWKS to fetch."""
    file: FilePath | None = None
    """A JWKS in a file, read again when it changes."""
    none: Literal[True] | None = None
    """There are none: it is asked about all its tokens (`introspection`)."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "KeySettings":
        if sum(source is not None for source in (self.discovery, self.url, self.file, self.none)) != 1:
            raise InvalidValue("`keys` takes exactly one of `discovery: true`, `url`, `file` and `none: true`")
        return self


class IntrospectionSettings(Section):
    """How an issuer is asked about tokens that are no JWTs (RFC 7662)."""

    noun: ClassVar[str] = "`introspection`"

    url: Url = Field(examples=["https://login.example/introspect"])
    """Where questions are put; redirects are not followed."""
    client_id: str = Field(min_length=1)
    """The client that asks, by `client_secret_basic`."""
    client_secret_file: FilePath
    """A file that holds its secret, read for each question."""
    timeout: Annotated[Duration, duration_from("10ms", "5s")] = Field(default="100ms", validate_default=True)
    """The longest that a question may take; shorter than the time that Envoy gives a check."""
    max_age: Annotated[Duration, duration_from("1s", "10m")] = Field(default="30s", validate_default=True)
    """How long an answer holds: a token that the issuer takes back is good for so long."""


class ClaimSettings(Section):
    """Which claims hold what rules ask for: a whole name, or a dotted path."""

    noun: ClassVar[str] = "`claims`"

    scopes: str = "scope"
    roles: str = "roles"
    groups: str = "groups"


class IssuerSettings(Section):
    """An issuer of user tokens."""

    noun: ClassVar[str] = "an issuer"

    issuer: str = Field(min_length=1, examples=["https://login.example/"])
    """The exact `iss` of its tokens; a URL where keys are found by discovery."""
    audiences: list[str] = Field(min_length=1, examples=[["shop"]])
    """One of these must be in a token's `aud`."""
    keys: KeySettings = Field(default={"discovery": True}, validate_default=True)
    algorithms: list[Algorithm] = Field(default=["RS256", "ES256"], min_length=1)
    """Signature algorithms that its tokens may use."""
    claims: ClaimSettings = Field(default={}, validate_default=True)
    max_lifetime: Duration | None = None
    """Longest time from `iat` to `exp`; with it, `iat` is required."""
    skew: Annotated[Duration, duration_from("0s", "60s")] = Field(default="30s", validate_default=True)
    """Tolerance for `exp`, `nbf` and `iat`; at most 60s."""
    token_types: list[str] = Field(default=["at+jwt", "JWT", "none"], min_length=1)
    """Accepted `typ`, in any case; `none` means absent."""
    introspection: IntrospectionSettings | None = None
    """Tokens that are no JWTs are asked about, and without `keys` its JWTs too; one issuer can have this."""
    accept_id_tokens: bool = False
    """Accept tokens that are OpenID Connect ID tokens."""
    required: bool = False
    """Not ready without keys of this issuer; otherwise only degraded."""
    keys_max_age: Annotated[Duration, duration_from("1m", "7d")] = Field(default="1h", validate_default=True)
    """How long known keys serve while the issuer cannot be reached."""
    refresh: Annotated[Duration, duration_from("10s", "1d")] | None = None
    """How often keys are fetched again; by default half of `keys_max_age`, at most 10m."""

    @property
    def refresh_s(self) -> float:
        """Seconds from one successful fetch of the keys to the next."""
        return self.refresh if self.refresh is not None else min(600.0, self.keys_max_age / 2)

    @model_validator(mode="after")
    def _discovery_needs_a_url(self) -> "IssuerSettings":
        if self.keys.discovery:
            try:
                check_url(self.issuer)
            except InvalidValue as error:
                raise InvalidValue(error.message, hint=error.hint, at=("issuer",)) from None
        return self

    @model_validator(mode="after")
    def _tokens_can_be_verified(self) -> "IssuerSettings":
        if self.keys.none and self.introspection is None:
            raise InvalidValue(
                "an issuer without keys needs `introspection`", hint="name its keys, or add it", at=("keys", "none")
            )
        return self

    @model_validator(mode="after")
    def _refresh_before_the_keys_are_too_old(self) -> "IssuerSettings":
        if self.refresh_s >= self.keys_max_age:
            raise InvalidValue("`refresh` must be shorter than `keys_max_age`", at=("refresh",))
        return self
