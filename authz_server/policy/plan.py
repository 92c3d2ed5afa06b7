"""Compiled policies as plain data: what the control process makes and the workers load.

Everything in a plan has been checked. It holds text, numbers and serialized conditions only, so that it can be
sent between processes and hashed; `policy.index` turns it into what requests are looked up in.
"""

from typing import Literal

from msgspec import Struct

from authz_server.model import HeaderAction, RecordClass

Effect = Literal["allow", "deny"]
Scalar = str | int | float | bool


class Expression(Struct, frozen=True):
    """A checked CEL expression."""

    source: str
    ast: bytes
    """The serialized checked expression."""
    reads: tuple[str, ...]
    """What it reads, sorted: `request.method`, `request.headers[x-team]`, `request.headers[*]`,
    `user.claims.customer`, `user.claims[*]`, `path.order_id`, `client.within[10.0.0.0/8]`, `now`, `has_user`,
    `body.order.amount`, `metadata[envoy.filters.http.jwt_authn].sub`."""
    iterates: bool = False
    """It has `map` or `filter`, whose cost grows with the square of the list, so that lists are bounded."""


class UserItem(Struct, frozen=True):
    """Which users fit; an empty tuple or None constrains nothing, so the default is any verified user."""

    issuer: str | None = None
    subjects: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    """All of these."""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Any of these, and any of the roles."""
    claims: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()
    """Claim name, and the values of which one must be there."""
    actors: tuple[str, ...] = ()
    """Who acts on behalf of the user: SPIFFE patterns, and subjects."""


class CallerItem(Struct, frozen=True):
    """One item of `from`: all that is given must fit."""

    workloads: tuple[str, ...] = ()
    """SPIFFE patterns."""
    users: UserItem | None = None
    networks: tuple[str, ...] = ()
    anonymous: bool = False
    any_of: tuple["CallerItem", ...] = ()
    """The items of the named roles, of which one must fit as well."""


class GrpcItem(Struct, frozen=True):
    """A gRPC service by its full name; no methods means all of them."""

    service: str
    methods: tuple[str, ...] = ()


class OperationItem(Struct, frozen=True):
    """One item of `to`: all that is given must fit."""

    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """Path templates."""
    grpc: GrpcItem | None = None
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    upgrade: str | None = None
    """Lower case."""
    connect: bool = False


class HeaderItem(Struct, frozen=True):
    """A header that a rule's `answer` changes; a text is a constant."""

    name: str
    """Lower case."""
    value: str | Expression
    action: HeaderAction = "set"


class AnswerItem(Struct, frozen=True):
    """What a rule's `answer` computes; a text is a constant."""

    set_headers: tuple[HeaderItem, ...] = ()
    remove_headers: tuple[str, ...] = ()
    set_query: tuple[tuple[str, str | Expression], ...] = ()
    remove_query: tuple[str, ...] = ()
    response_headers: tuple[HeaderItem, ...] = ()
    metadata: tuple[tuple[str, str | Expression], ...] = ()
    status: int | None = None
    body: str | Expression | None = None
    headers: tuple[HeaderItem, ...] = ()
    hint: str | Expression | None = None

    def expressions(self) -> list[Expression]:
        """Everything that has to be computed."""
        headers = [header.value for header in (*self.set_headers, *self.response_headers, *self.headers)]
        pairs = [value for _, value in self.set_query + self.metadata]
        return [value for value in (self.body, self.hint, *headers, *pairs) if isinstance(value, Expression)]


EMPTY_ANSWER = AnswerItem()
"""That of a rule without `answer`."""


class ScheduleItem(Struct, frozen=True):
    """Days and hours by the wall clock of a zone."""

    days: tuple[int, ...]
    """0 is Monday."""
    begin: int
    end: int
    """Minutes since midnight; an end before the begin is on the next day."""
    zone: str
    """A name of the IANA database."""


class TimesItem(Struct, frozen=True):
    """When a rule exists; None does not limit."""

    begins: float | None = None
    ends: float | None = None
    """Seconds since the epoch; the end is not included."""
    schedule: ScheduleItem | None = None


class RequiresItem(Struct, frozen=True):
    """How strongly a user must have authenticated: all that is given."""

    acr: tuple[str, ...] = ()
    """One of these."""
    amr: tuple[str, ...] = ()
    """All of these."""
    max_auth_age_s: float | None = None
    bound_token: bool = False


class Rule(Struct, frozen=True):
    """One rule. `callers` None is anyone; `operations` None is every operation."""

    id: str
    """Full: `namespace/service/rule`; without the namespace in the top folder."""
    effect: Effect
    callers: tuple[CallerItem, ...] | None
    operations: tuple[OperationItem, ...] | None
    condition: Expression | None
    """All of `when`, joined by `&&`."""
    answer: AnswerItem
    location: str
    """`file:line:column` of its id."""
    description: str = ""
    times: TimesItem | None = None
    """None exists always."""
    requires: RequiresItem | None = None
    guardrail: bool = False
    """Denies for every service of its folder, whatever their mode."""
    audit: bool = False
    """Changes nothing, and is recorded where it would have decided."""
    record: RecordClass | None = None
    """None is as the service says."""

    def expressions(self) -> list[Expression]:
        """Everything that has to be computed."""
        return self.answer.expressions() + ([] if self.condition is None else [self.condition])


class Service(Struct, frozen=True):
    """A service and its rules, the guardrails of its folders included."""

    name: str
    """Full: `namespace/service`; without the namespace in the top folder."""
    hosts: tuple[str, ...]
    path_prefix: str
    """A literal path such as `/api`; `/` is every path."""
    rules: tuple[Rule, ...]
    """Sorted by id, so that the order of files never shows."""
    inputs: tuple[str, ...]
    """What the rules read, for the record's `inputs`; names as in `Expression.reads`, without `path.…`."""
    set_headers: tuple[str, ...]
    """Header names that any allow rule sets: the client's own copies never reach the upstream."""
    audit: bool = False
    """What its rules would deny goes through, and is recorded."""
    lenient: bool = False
    """Paths with several readings are decided, each reading by itself."""
    body: bool = False
    """Its rules may read bodies."""
    record: RecordClass | None = None
    """Of decisions whose rule says nothing; None never loses those of requests that go through."""


class Plan(Struct, frozen=True):
    """All policies of one revision."""

    revision: str
    """Content hash: the same files give the same revision, whatever their order."""
    services: tuple[Service, ...]
    """Sorted by name."""
    number: int | None = None
    """Gives revisions an order; None where the policies have none."""
