"""The documents of the policy language as models; docstrings are what editors show."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from authz_server.documents.model import Model
from authz_server.documents.quantities import Duration, duration_from
from authz_server.model import RecordClass
from authz_server.policy.moments import Hours, Instant, Zone
from authz_server.policy.testcases import PolicyTests
from authz_server.policy.values import (
    ActorPattern,
    AuthenticationClass,
    ClaimName,
    Expression,
    FindingCode,
    GrpcMethod,
    GrpcService,
    HeaderName,
    HostPattern,
    Method,
    Name,
    Network,
    PathPrefix,
    PathTemplate,
    Port,
    Scalar,
    SpiffePattern,
    Text,
    TrustDomain,
    Upgrade,
)

LARGEST_NUMBER = 2**53 - 1
"""That every reader of JSON reads exactly."""
NOT_EMPTY = Field(min_length=1)


class Users(Model):
    """Which verified users fit: all that is given must."""

    noun: ClassVar[str] = "`users`"

    issuer: Text = Field(examples=["corp"])
    """Who issued the token, by the name that the configuration gives it."""
    subjects: Annotated[list[Text], NOT_EMPTY] = Field(default_factory=list, examples=[["ann"]])
    """One of these."""
    scopes: Annotated[list[Text], NOT_EMPTY] = Field(default_factory=list, examples=[["orders:read"]])
    """All of these."""
    roles: Annotated[list[Text], NOT_EMPTY] = Field(default_factory=list, examples=[["support"]])
    """One of these, as the token names them."""
    groups: Annotated[list[Text], NOT_EMPTY] = Field(default_factory=list, examples=[["support"]])
    """One of these, as the token names them."""
    claims: Annotated[dict[ClaimName, Scalar | Annotated[list[Scalar], NOT_EMPTY]], NOT_EMPTY] = Field(
        default_factory=dict, examples=[{"department": "sales"}]
    )
    """Claims by name or dotted path, each with its value or a list of values of which one must be there."""
    actors: Annotated[list[ActorPattern], NOT_EMPTY] = Field(default_factory=list, examples=[["spiffe://a.b/gateway"]])
    """Who acts for the user is one of these."""


class Caller(Model):
    """One kind of caller: all that is given must fit."""

    noun: ClassVar[str] = "an item of `from`"

    workloads: Annotated[list[SpiffePattern], NOT_EMPTY] = Field(
        default_factory=list, examples=[["spiffe://shop.example/ns/front/**"]]
    )
    """The calling service is one of these."""
    users: Literal["any"] | Users | None = Field(default=None, examples=["any"])
    """`any` is any verified user."""
    roles: Annotated[list[Name], NOT_EMPTY] = Field(default_factory=list, examples=[["support"]])
    """One of these fits, as a `roles` document of this folder or one above defines them."""
    networks: Annotated[list[Network], NOT_EMPTY] = Field(default_factory=list, examples=[["10.1.0.0/16"]])
    """The client's address is in one of these."""
    anonymous: Literal[True] | None = None
    """A caller with neither workload nor user."""


class Grpc(Model):
    """A gRPC service, or some of its methods."""

    noun: ClassVar[str] = "`grpc`"

    service: GrpcService = Field(examples=["orders.v1.Refunds"])
    """Its full name."""
    methods: Annotated[list[GrpcMethod], NOT_EMPTY] = Field(default_factory=list, examples=[["Create"]])
    """One of these; without it all of them."""


class Operation(Model):
    """One kind of operation: all that is given must fit."""

    noun: ClassVar[str] = "an item of `to`"

    methods: Annotated[list[Method], NOT_EMPTY] = Field(default_factory=list, examples=[["GET"]])
    """One of these; without it all of them."""
    paths: Annotated[list[PathTemplate], NOT_EMPTY] = Field(default_factory=list, examples=[["/orders/{order_id}"]])
    """The path fits one of these templates."""
    grpc: Grpc | None = Field(default=None, examples=[{"service": "orders.v1.Refunds"}])
    """Calls of this gRPC service."""
    hosts: Annotated[list[HostPattern], NOT_EMPTY] = Field(default_factory=list, examples=[["orders.shop.example"]])
    """To one of these hosts, of those that the service speaks for."""
    ports: Annotated[list[Port], NOT_EMPTY] = Field(default_factory=list, examples=[[8443]])
    """Ports of the address that the request was sent to."""
    upgrade: Upgrade | None = Field(default=None, examples=["websocket"])
    """Requests to upgrade the connection to this protocol."""
    connect: Literal[True] | None = None
    """CONNECT requests."""


Mode = Literal["enforce", "audit"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Schedule(Model):
    """Days and hours by the wall clock of a zone."""

    noun: ClassVar[str] = "`schedule`"

    days: Annotated[list[Day], NOT_EMPTY] = Field(default_factory=list, examples=[["mon", "tue", "wed", "thu", "fri"]])
    """These days; without it all of them."""
    hours: Hours = Field(default="00:00-24:00", examples=["08:00-18:00"])
    """From the first minute up to the second; they may cross midnight, and belong to the day on which they begin."""
    zone: Zone = Field(examples=["Europe/Zurich"])
    """A time zone of the IANA database."""


class Valid(Model):
    """Between two instants, of which one may be missing."""

    noun: ClassVar[str] = "`valid`"

    begins: Instant | None = Field(default=None, alias="from", examples=["2026-03-02T10:00:00+01:00"])
    """The rule exists from here on."""
    ends: Instant | None = Field(default=None, alias="until", examples=["2026-04-01T00:00:00+02:00"])
    """The rule does not exist from here on."""


class Requires(Model):
    """How strongly a user must have authenticated: all that is given."""

    noun: ClassVar[str] = "`requires`"

    acr: Annotated[list[AuthenticationClass], NOT_EMPTY] = Field(default_factory=list, examples=[["mfa"]])
    """The claim `acr` is one of these."""
    amr: Annotated[list[Text], NOT_EMPTY] = Field(default_factory=list, examples=[["otp"]])
    """The claim `amr` has all of these."""
    max_auth_age: Annotated[Duration, duration_from("1s", "365d")] | None = Field(default=None, examples=["15m"])
    """The user authenticated (`auth_time`) no longer ago than this."""
    bound_token: Literal[True] | None = None
    """The token is bound to the caller (`cnf`)."""


class HeaderExpression(Model):
    """What a header becomes, by what is there: exactly one of these."""

    noun: ClassVar[str] = "a header of `answer`"

    append: Expression | None = Field(default=None, examples=["'authz'"])
    """One more value, beside those that are there."""
    if_absent: Expression | None = Field(default=None, examples=["'none'"])
    """Only where there is no such header."""
    if_present: Expression | None = Field(default=None, examples=["'hidden'"])
    """Only in place of one that is there."""


class Answer(Model):
    """What the answer changes. Values are CEL expressions of type string; a constant is a CEL text in quotes."""

    noun: ClassVar[str] = "`answer`"

    set_headers: Annotated[dict[HeaderName, Expression | HeaderExpression], NOT_EMPTY] = Field(
        default_factory=dict, examples=[{"x-user": "user.subject"}]
    )
    """Of allow rules: request headers for the upstream, in place of the client's unless the value says otherwise."""
    remove_headers: Annotated[list[HeaderName], NOT_EMPTY] = Field(default_factory=list, examples=[["x-debug"]])
    """Of allow rules: request headers that the upstream does not get."""
    set_query: Annotated[dict[Text, Expression], NOT_EMPTY] = Field(
        default_factory=dict, examples=[{"tenant": "user.subject"}]
    )
    """Of allow rules: query parameters for the upstream."""
    remove_query: Annotated[list[Text], NOT_EMPTY] = Field(default_factory=list, examples=[["debug"]])
    """Of allow rules: query parameters that the upstream does not get."""
    response_headers: Annotated[dict[HeaderName, Expression | HeaderExpression], NOT_EMPTY] = Field(
        default_factory=dict, examples=[{"x-served-for": "user.subject"}]
    )
    """Of allow rules: headers of the response to the client."""
    metadata: Annotated[dict[Text, Expression], NOT_EMPTY] = Field(
        default_factory=dict, examples=[{"tenant": "user.issuer"}]
    )
    """Of allow rules: dynamic metadata for Envoy's other filters and its access log."""
    status: int | None = Field(default=None, ge=400, le=599, examples=[404])
    """Of deny rules: the HTTP status, 4xx or 5xx."""
    body: Expression | None = Field(default=None, examples=["'No.'"])
    """Of deny rules: the body of the response."""
    headers: Annotated[dict[HeaderName, Expression], NOT_EMPTY] = Field(
        default_factory=dict, examples=[{"retry-after": "'3600'"}]
    )
    """Of deny rules: headers of the response."""
    hint: Expression | None = Field(default=None, examples=["'Ask for the role support.'"])
    """Of deny rules: a sentence that helps the client."""


class _RuleFields(Model):
    id: Name = Field(examples=["customers-read-their-orders"])
    """Names the rule in decisions, records and metrics."""
    description: str = ""
    """What the rule is for, shown in explanations."""
    effect: Literal["allow", "deny"] = Field(examples=["allow"])
    """A deny rule that fits always wins."""
    callers: Literal["anyone"] | Annotated[list[Caller], NOT_EMPTY] | None = Field(
        default=None, alias="from", examples=[[{"workloads": ["spiffe://shop.example/ns/front/**"]}]]
    )
    """Who calls: one item must fit. Required for allow; a deny rule without it is about everyone."""
    operations: Annotated[list[Operation], NOT_EMPTY] = Field(
        default_factory=list, alias="to", examples=[[{"methods": ["GET"], "paths": ["/orders"]}]]
    )
    """What is called: one item must fit. Without it every operation; for allow no upgrade and no CONNECT."""
    when: Expression | Annotated[list[Expression], NOT_EMPTY] | None = Field(
        default=None, examples=["request.method == 'GET'"]
    )
    """A CEL expression of type bool, or several that must all hold."""
    requires: Requires | None = Field(default=None, examples=[{"acr": ["mfa"], "max_auth_age": "15m"}])
    """Of allow rules: who lacks only this is asked to authenticate more strongly."""
    schedule: Schedule | None = Field(default=None, examples=[{"hours": "08:00-18:00", "zone": "Europe/Zurich"}])
    """At other times the rule does not exist."""
    valid: Valid | None = Field(default=None, examples=[{"until": "2026-04-01T00:00:00+02:00"}])
    """Before and after the rule does not exist."""
    answer: Answer | None = Field(default=None, examples=[{"set_headers": {"x-user": "user.subject"}}])
    """What the answer changes, for the upstream and the client."""
    mode: Mode = "enforce"
    """With `audit` the rule changes nothing: where it would have decided, the record says so."""
    record: RecordClass | None = Field(default=None, examples=["never_lose"])
    """Of decisions by this rule, in place of what the service says: see there."""
    accepts: Annotated[dict[FindingCode, Text], NOT_EMPTY] = Field(
        default_factory=dict, examples=[{"wide_grant": "The batch job writes everywhere."}]
    )
    """What `authz lint` need not say about this rule: the code of a finding -> why that is meant."""


class Rule(_RuleFields):
    """Who may do what, or may not."""

    noun: ClassVar[str] = "a rule"


class Guardrail(_RuleFields):
    """A deny rule for all services of its folder and below."""

    noun: ClassVar[str] = "a guardrail"

    effect: Literal["deny"] = Field(examples=["deny"])
    """No allow rule can undo it."""


class Service(Model):
    """The rules of one service."""

    noun: ClassVar[str] = "a service"

    kind: Literal["service"]
    """What this file holds."""
    name: Name = Field(examples=["orders"])
    """Its full name has the folders in front: `shop/orders`."""
    hosts: Annotated[list[HostPattern], NOT_EMPTY] = Field(examples=[["orders.shop.example"]])
    """The hosts that it speaks for."""
    path_prefix: PathPrefix = Field(default="/", examples=["/api"])
    """The paths that it speaks for: this one and all below."""
    paths: Literal["strict", "lenient"] = "strict"
    """With `lenient`, a path with several readings is allowed where each of them is; otherwise it is refused."""
    body: Literal["json"] | None = Field(default=None, examples=["json"])
    """Conditions may read `body`, which Envoy has to send."""
    mode: Mode = "enforce"
    """With `audit` its rules deny nothing: what they would deny is allowed, and recorded. Guardrails still deny."""
    record: RecordClass | None = Field(default=None, examples=["never_lose"])
    """Where the record of a decision can be kept nowhere: with `never_lose` the request is denied, with `best_effort`
    it goes on, and a gap is recorded. Without it the records of allowed requests are never lost."""
    rules: list[Rule] = Field(examples=[[]])
    """Whatever no rule allows is denied."""


class Guardrails(Model):
    """Deny rules that hold for every service of this folder and below; no allow rule can undo them."""

    noun: ClassVar[str] = "a guardrails document"

    kind: Literal["guardrails"]
    """What this file holds."""
    rules: Annotated[list[Guardrail], NOT_EMPTY]
    """What nobody may do."""


class Roles(Model):
    """Named groups of callers, known in this folder and below."""

    noun: ClassVar[str] = "a roles document"

    kind: Literal["roles"]
    """What this file holds."""
    roles: Annotated[dict[Name, Annotated[list[Caller], NOT_EMPTY]], NOT_EMPTY]
    """Role -> the items of `from` that it stands for."""


class Namespace(Model):
    """What the files of this folder and below may speak for, so that folders can be owned by teams."""

    noun: ClassVar[str] = "a namespace"

    kind: Literal["namespace"]
    """What this file holds."""
    hosts: Annotated[list[HostPattern], NOT_EMPTY] = Field(default_factory=list, examples=[["*.shop.example"]])
    """The hosts of services are within these; without it any."""
    trust_domains: Annotated[list[TrustDomain], NOT_EMPTY] = Field(default_factory=list, examples=[["shop.example"]])
    """The workloads that rules and roles name are of these; without it any."""


class Revision(Model):
    """The number of this state of the policies, by which routes can demand it or a later one."""

    noun: ClassVar[str] = "a revision document"

    kind: Literal["revision"]
    """What this file holds."""
    number: Annotated[int, Field(ge=1, le=LARGEST_NUMBER, examples=[1742])]
    """Larger with each change, such as the number of commits."""


PolicyDocument = Service | Guardrails | Roles | Namespace | Revision | PolicyTests

KINDS: dict[
    str, type[Service] | type[Guardrails] | type[Roles] | type[Namespace] | type[Revision] | type[PolicyTests]
] = {
    "service": Service,
    "guardrails": Guardrails,
    "roles": Roles,
    "namespace": Namespace,
    "revision": Revision,
    "tests": PolicyTests,
}
