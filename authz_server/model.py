"""The values that cross the borders between packages. Immutable, without behaviour, compared with `==`.

They are msgspec structs rather than dataclasses because several are built on every request.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal

from msgspec import Struct

from authz_server.errors import AUDITABLE, Reason

IpAddress = IPv4Address | IPv6Address


class Request(Struct, frozen=True):
    """A request as the proxy reported it; nothing in it has been checked."""

    method: str = ""
    target: str = ""
    """Path and query, as sent."""
    host: str = ""
    headers: tuple[tuple[str, bytes], ...] = ()
    """Names and values in the order of arrival, pseudo-headers included."""
    headers_joined: bool = False
    """Repeated headers were joined with commas before they reached us."""
    protocol: str = ""
    id: str = ""
    client_address: str = ""
    destination_address: str = ""
    destination_port: int | None = None
    principal: str = ""
    """The caller's identity by the proxy's reading: the first URI SAN, else DNS SAN, else subject."""
    certificate: str = ""
    """The caller's leaf certificate, URL-encoded PEM."""
    extensions: Mapping[str, str] = {}
    """What the operator attached to the route."""
    body: bytes = b""
    """What the proxy sent of the body, which may not be all of it."""
    body_size: int = 0
    """How many bytes of it the proxy has counted; 0 or less where it does not say."""
    metadata: Mapping[str, Any] = {}
    """What other filters of the proxy have written (protobuf's Struct), of the namespaces that the operator lists."""


class Path(Struct, frozen=True):
    """A canonical path: `/a/b%20c/` is `segments=("a", "b c"), trailing_slash=True`; `/` is `(), True`."""

    segments: tuple[str, ...]
    trailing_slash: bool


class SpiffeId(Struct, frozen=True):
    """A SPIFFE ID; `text` is `spiffe://<trust_domain>/<segments joined by />`."""

    text: str
    trust_domain: str
    segments: tuple[str, ...]


class Certificate(Struct, frozen=True):
    """What conditions and records may know of the caller's leaf certificate."""

    serial: str
    """Lower-case hexadecimal without leading zeros."""
    fingerprint: str
    """SHA-256 of the DER form, lower-case hexadecimal."""
    not_before: float
    not_after: float
    """Seconds since the epoch."""


class Workload(Struct, frozen=True):
    """The calling service; `certificate` is absent where only the principal or a JWT-SVID is known."""

    id: SpiffeId
    certificate: Certificate | None
    via: str | None = None
    """The SPIFFE ID of the proxy that was the peer and spoke for this caller."""
    by_token: bool = False
    """It is known by a JWT-SVID alone."""

    @property
    def known_by(self) -> Literal["certificate", "jwt_svid", "name"]:
        """What proves the ID; `name`: the word of the proxy."""
        if self.by_token:
            return "jwt_svid"
        return "name" if self.certificate is None else "certificate"


class Actor(Struct, frozen=True):
    """Who acts on behalf of a user (RFC 8693 section 4.1)."""

    subject: str
    id: SpiffeId | None = None
    """The same as a SPIFFE ID, where it is one."""


class User(Struct, frozen=True):
    """A verified user."""

    issuer: str
    """The issuer's name in our configuration, not its URL."""
    subject: str
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = {}
    """Every claim of the token, integers exact."""
    expires: float = 0.0
    """Seconds since the epoch."""
    bound: bool = False
    """The token is bound to a key of the caller, and that was proved (`cnf`, RFC 7800)."""
    actor: Actor | None = None
    """None where nobody acts on behalf of the user."""


HeaderAction = Literal["set", "append", "if_absent", "if_present"]
"""In place of what is there; beside it; only where nothing is there; only in place of something."""


BodyFormat = Literal["problem", "page", "plain", "grpc"]
"""A problem in JSON (RFC 9457), an HTML page, a line of text, the same line as the message of a gRPC status."""


class HeaderChange(Struct, frozen=True):
    """A header to change."""

    name: str
    value: str
    action: HeaderAction = "set"


class Answer(Struct, frozen=True, cache_hash=True):
    """What the answer changes: for an allowed request towards the upstream, for a denied one towards the client."""

    set_headers: tuple[HeaderChange, ...] = ()
    remove_headers: tuple[str, ...] = ()
    set_query: tuple[tuple[str, str], ...] = ()
    remove_query: tuple[str, ...] = ()
    response_headers: tuple[HeaderChange, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    status: int | None = None
    """Of a denial: 4xx or 5xx; None is the reason's own."""
    body: str | None = None
    headers: tuple[HeaderChange, ...] = ()
    """Of a denial."""
    hint: str | None = None
    """Of a denial: a sentence that helps the client, shown in the problem body."""


class UpstreamToken(Struct, frozen=True):
    """Our own token for the upstream, in a header of its own. Secret: whoever has seen it can show it."""

    header: str
    value: str

    def __repr__(self) -> str:
        return f"UpstreamToken(header={self.header!r})"


class Compared(Struct, frozen=True):
    """What other policies say about a request that they do not decide."""

    revision: str
    allowed: bool
    """As the proxy would be told."""
    reason: Reason
    rule: str | None = None
    would_deny: bool = False


RuleItems = tuple[int | None, int | None]
"""The item of `from` and that of `to` by which a rule fits, from 0; None of a rule that does not list any."""

Comparison = Literal["same", "closed", "opened", "other", "skipped", "failed"]
"""What a candidate changes: it says the same, closes what is open, opens what is closed, or has another reason or rule;
it was not asked for want of time, or could not be asked because of a defect."""


RecordClass = Literal["never_lose", "best_effort"]
"""What becomes of a request whose record can be kept nowhere: it is denied, or it goes on and a gap is recorded."""


class Decision(Struct, frozen=True, kw_only=True):
    """The outcome of one check, with everything that the answer and the record say about it."""

    id: str
    time: float
    """Seconds since the epoch at which the check began; what every time comparison used."""
    revision: str
    stale: bool = False
    """The policies are those of an earlier run, because their directory is broken."""
    reason: Reason
    detail: str | None = None
    """For operators: which check failed. Never shown to clients."""
    rule: str | None = None
    service: str | None = None
    mode: Literal["enforce", "audit"] = "enforce"
    would_deny: bool = False
    """The reason is that of a denial which is not enforced."""
    audited: tuple[str, ...] = ()
    """Full ids of the rules in audit that would have decided."""
    workload: Workload | None = None
    user: User | None = None
    token_hash: str | None = None
    method: str | None = None
    host: str | None = None
    path: str | None = None
    """As sent, without the query."""
    client_ip: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    inputs: Mapping[str, Any] = {}
    """What else the service's rules read: dotted name -> value."""
    absent: tuple[str, ...] = ()
    """The names of those inputs that the request does not have."""
    traits: Mapping[str, Any] | None = None
    """What is unusual about the request; None where it was not read."""
    answer: Answer = Answer()
    with_proof: bool = False
    """The client used the scheme `DPoP`, and reads its challenge."""
    body_format: BodyFormat = "problem"
    """In which form the client reads a denial."""
    shed: int = 0
    """It is about so many calls that were denied unread; 0: about one that was read."""
    upstream_token: UpstreamToken | None = None
    """What the upstream learns from us where a rule allowed; None where there are no such tokens."""
    record_class: RecordClass | None = None
    """As the policies say; None where they do not."""
    policies: Literal["candidate"] | None = None
    """The candidate has decided, because the caller is in the share that it is rolled out to."""
    compared: Compared | None = None
    """What the other policies say, the candidate's or those in force; None where they say the same, or were not
    asked."""
    caller_untold: bool = False
    """Who calls was found out for a comparison alone: the record has it, the answer does not."""
    items: RuleItems | None = None
    """Those of the rule that decided; None where none did, or the readings of the path had different ones."""

    @property
    def allowed(self) -> bool:
        """Whether the request may go on: for the one reason that allows, or because what denies is in audit."""
        return self.reason is Reason.ALLOWED or self.unenforced

    @property
    def unenforced(self) -> bool:
        """Whether this is a denial that goes through."""
        return self.would_deny and self.mode == "audit" and self.reason in AUDITABLE

    @property
    def never_lose(self) -> bool:
        """Whether the record has a place of its own: where policies do not say, that of a request that goes through."""
        return self.allowed if self.record_class is None else self.record_class == "never_lose"
