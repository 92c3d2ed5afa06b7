"""The whole configuration."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from authz_server.control.settings.candidate import CandidateSettings
from authz_server.control.settings.dpop import DpopSettings
from authz_server.control.settings.identity import (
    ApiKeySettings,
    ClientSettings,
    IssuerSettings,
    WorkloadSettings,
)
from authz_server.control.settings.listeners import AdminSettings, ListenSettings, ProbeSettings, TlsSettings
from authz_server.control.settings.names import HeaderName, InputName, Name, Namespace
from authz_server.control.settings.places import FilePath
from authz_server.control.settings.section import Section
from authz_server.control.settings.sources import SourceSettings
from authz_server.control.settings.upstream_token import UpstreamTokenSettings
from authz_server.documents.invalid import InvalidValue
from authz_server.documents.quantities import Duration, Size, duration_from, size_from
from authz_server.identity.xfcc import HEADER as XFCC
from authz_server.policy.values import settable_header
from authz_server.request.dpop import HEADER as DPOP
from authz_server.worker.address import TcpAddress, UnixAddress
from authz_server.worker.messages import TransportName


class RevisionSettings(Section):
    """The texts of policies that decided before, in `run_directory`: for `authz revisions`, `rollback` and
    `explain`."""

    noun: ClassVar[str] = "`revisions`"

    keep: Annotated[int, Field(ge=0, le=1000)] = 20
    """How many are kept at most, the latest; 0 keeps none."""
    size: Annotated[Size, size_from("1MB", "100GB")] = Field(default="64MB", validate_default=True)
    """Of all together, on disk. The latest is kept however large it is."""


class PolicySettings(Section):
    """Where the policies are."""

    noun: ClassVar[str] = "`policies`"

    directory: FilePath = Field(default="policies", validate_default=True)
    """The directory of the policy files."""
    source: SourceSettings | None = None
    """Where policies are fetched, instead of a `directory`."""
    rescan: Annotated[Duration, duration_from("100ms", "1h")] = Field(default="5s", validate_default=True)
    """How often the contents of policy, key, bundle, API key and revocation files are compared, for changes that no
    event told of."""
    keep_last_good: bool = True
    """Whether the policies that decide are kept in `run_directory`, for a start at which their directory is broken."""
    revisions: RevisionSettings = Field(default={}, validate_default=True)

    @model_validator(mode="after")
    def _one_place(self) -> "PolicySettings":
        if self.source is not None and "directory" in self.model_fields_set:
            message, hint = "policies come from `source`", "remove one of `directory` and `source`"
            raise InvalidValue(message, hint=hint, at=("directory",))
        return self


class ReloadSettings(Section):
    """What an edit of the policies has to pass before it decides, beside having no error."""

    noun: ClassVar[str] = "`reload`"

    require_tests: bool = False
    """Whether policies are refused whose [tests](policy-tests.md) fail, or that have none: the last good ones stay."""
    tests_limit: Annotated[Duration, duration_from("100ms", "5m")] = Field(default="10s", validate_default=True)
    """The CPU time that these tests may take; an edit whose tests take longer is refused."""


class BodySettings(Section):
    """Bodies that the conditions of policies read (`body: json`)."""

    noun: ClassVar[str] = "`bodies`"

    max: Annotated[Size, size_from("1KiB", "256KiB")] = Field(default="16KiB", validate_default=True)
    """The largest body that is read; a rule that needs a larger one denies. `authz envoy config` lets Envoy send that
    much."""


class MetadataSettings(Section):
    """What other filters of Envoy have found out about a request."""

    noun: ClassVar[str] = "`metadata`"

    namespaces: list[Namespace] = Field(default=[], max_length=16, examples=[["envoy.filters.http.jwt_authn"]])
    """Namespaces of dynamic metadata that conditions may read, as names of filters; any other is not looked at."""


class AuditFileSettings(Section):
    """The file of decisions: one JSON object a line."""

    noun: ClassVar[str] = "`file`"

    path: FilePath = Field(default="audit/decisions.jsonl", validate_default=True)
    rotate: Annotated[Size, size_from("4KB", "1000GB")] = Field(default="100MB", validate_default=True)
    """The size at which the file is put aside and a fresh one begun."""
    keep: Annotated[int, Field(ge=0)] = 0
    """How many files that were put aside are kept; 0 keeps all."""


class AuditSpoolSettings(Section):
    """Where records wait while the audit file cannot be written."""

    noun: ClassVar[str] = "`spool`"

    path: FilePath | None = Field(default=None, examples=["audit/decisions.spool"])
    """A file beside the audit file, with the suffix `.spool`, where nothing is said. Not on a file system in memory."""
    size: Annotated[Size, size_from("4MB", "1000GB")] = Field(default="64MB", validate_default=True)
    """Taken from the disk at the start: about 100,000 records. When it is full, requests are denied whose records must
    not be lost."""


class AuditSettings(Section):
    """The record of decisions."""

    noun: ClassVar[str] = "`audit`"

    file: AuditFileSettings = Field(default={}, validate_default=True)
    spool: AuditSpoolSettings = Field(default={}, validate_default=True)
    secrets: list[InputName] = Field(default=[])
    """Inputs whose values are recorded as keyed hashes, by name: `request.headers[x-api-key]`."""

    @property
    def spool_path(self) -> Path:
        """Where the spool is."""
        return self.spool.path or self.file.path.with_suffix(".spool")


class UsageSettings(Section):
    """What is counted of the policies' use, in `run_directory`, for `authz usage`."""

    noun: ClassVar[str] = "`usage`"

    keep: Annotated[Duration, duration_from("1d", "1000d")] = Field(default="90d", validate_default=True)
    """How long it is remembered that something was used."""


class AnswerSettings(Section):
    """What the proxy is told."""

    noun: ClassVar[str] = "`answers`"

    failures: Literal["deny", "error"] = "deny"
    """How the proxy gets failures of ours: `not_ready`, `overloaded`, `deadline`, `internal_error`. With `error` it
    counts errors, and lets the request pass where it has `failure_mode_allow: true`: see
    [reasons](reasons.md#failures-as-errors)."""


class LogSettings(Section):
    """The log of the server itself, on standard error."""

    noun: ClassVar[str] = "`log`"

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"
    """`auto`: text on a terminal, else JSON."""


class Settings(Section):
    """Every setting of `authz serve`."""

    noun: ClassVar[str] = "the configuration"

    listen: ListenSettings = Field(default={}, validate_default=True)
    workers: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    """Number of worker processes; `auto` is one for each core, within the cgroup's quota."""
    tls: TlsSettings | None = None
    admin: AdminSettings = Field(default={}, validate_default=True)
    probes: ProbeSettings | None = None
    policies: PolicySettings = Field(default={}, validate_default=True)
    reload: ReloadSettings = Field(default={}, validate_default=True)
    candidate: CandidateSettings | None = None
    """Without it no other policies are asked."""
    workloads: WorkloadSettings = Field(default={}, validate_default=True)
    clients: ClientSettings = Field(default={}, validate_default=True)
    issuers: dict[Name, IssuerSettings] = Field(default_factory=dict)
    """Issuers of user tokens, by the name that policies use."""
    api_keys: ApiKeySettings | None = None
    """Without it no API keys are taken."""
    dpop: DpopSettings | None = None
    """Without it no tokens are taken that are bound to a key (`cnf.jkt`)."""
    revocations: FilePath | None = Field(default=None, examples=["revocations.yaml"])
    """Credentials that are revoked before they expire. Nothing is decided before it has been read once; read again when
    it changes."""
    bodies: BodySettings = Field(default={}, validate_default=True)
    metadata: MetadataSettings = Field(default={}, validate_default=True)
    identity_headers: list[HeaderName] = Field(default=[])
    """Headers, in lower case, that are never passed on from the client; none in which callers show credentials."""
    upstream_token: UpstreamTokenSettings | None = None
    """Without it upstreams get no token of ours."""
    answers: AnswerSettings = Field(default={}, validate_default=True)
    audit: AuditSettings = Field(default={}, validate_default=True)
    usage: UsageSettings = Field(default={}, validate_default=True)
    log: LogSettings = Field(default={}, validate_default=True)
    run_directory: FilePath = Field(default="run", validate_default=True)
    """Files of the running server: its lock, metrics, records on their way to the audit file, the last good
    policies and earlier revisions, what is used of the policies."""

    @property
    def policy_directory(self) -> Path:
        """Where the policies are read: what an operator has named, or where fetched ones are put."""
        source = self.policies.source
        return self.policies.directory if source is None else source.policies(self.run_directory)

    @property
    def transport(self) -> TransportName:
        """The transport that workers use."""
        chosen = self.listen.transport
        if chosen != "auto":
            return chosen
        return "lean" if isinstance(self.listen.address, UnixAddress) and self.tls is None else "grpcio"

    def credential_headers(self) -> list[str]:
        """The headers of their own that hold credentials."""
        return [kind.header for kind in (self.workloads.jwt_svid, self.api_keys) if kind is not None]

    def caller_headers(self) -> list[str]:
        """The headers that say who a caller is."""
        found = ["authorization"] if self.issuers else []
        found += self.credential_headers()
        found += [] if self.dpop is None else [DPOP]
        return found + ([] if self.workloads.xfcc is None else [XFCC])

    @model_validator(mode="after")
    def _only_this_machine_without_named_clients(self) -> "Settings":
        if self.tls is None and not self.listen.address.loopback:
            message = "without `tls` only loopback addresses and Unix sockets are allowed"
            raise InvalidValue(message, hint="add `tls`, or listen on 127.0.0.1", at=("listen", "address"))
        if self.tls is not None and self.tls.client_ca is None and not self.listen.address.loopback:
            message = "whoever reaches this address may ask about anybody"
            hint = "add `tls.client_ca` and `tls.clients`, or listen on 127.0.0.1"
            raise InvalidValue(message, hint=hint, at=("listen", "address"))
        return self

    @model_validator(mode="after")
    def _each_listens_elsewhere(self) -> "Settings":
        taken = {str(self.listen.address): "`listen`"}
        for name, section in (("admin", self.admin), ("probes", self.probes)):
            address = None if section is None else section.listen
            if address is None or (isinstance(address, TcpAddress) and address.port == 0):
                continue
            other = taken.setdefault(str(address), f"`{name}`")
            if other != f"`{name}`":
                message, hint = f"{other} listens on {address} already", "choose another port or socket"
                raise InvalidValue(message, hint=hint, at=(name, "listen"))
        return self

    @model_validator(mode="after")
    def _lean_only_on_this_machine(self) -> "Settings":
        if self.listen.transport == "lean" and self.listen.endpoints == "shared":
            message, hint = "workers that share an address need `grpcio`", "remove `transport`, or `endpoints: shared`"
            raise InvalidValue(message, hint=hint, at=("listen", "transport"))
        if self.listen.transport == "lean" and self.tls is not None:
            message, hint = "with `tls` the transport is `grpcio`", "remove `transport`, or `tls`"
            raise InvalidValue(message, hint=hint, at=("listen", "transport"))
        return self

    @model_validator(mode="after")
    def _users_and_workloads_show_their_tokens_apart(self) -> "Settings":
        svids = self.workloads.jwt_svid
        if svids is not None and svids.header == "authorization" and self.issuers:
            message = "`authorization` holds the tokens of users, because there are `issuers`"
            raise InvalidValue(message, hint="for example x-jwt-svid", at=("workloads", "jwt_svid", "header"))
        return self

    @model_validator(mode="after")
    def _api_keys_stand_apart(self) -> "Settings":
        keys, svids = self.api_keys, self.workloads.jwt_svid
        if keys is not None and keys.name in self.issuers:
            message = f"`{keys.name}` is an issuer of tokens"
            raise InvalidValue(message, hint="rules must be able to tell them apart", at=("api_keys", "name"))
        if keys is not None and svids is not None and keys.header == svids.header:
            message = f"`{keys.header}` holds JWT-SVIDs"
            raise InvalidValue(message, hint="for example x-api-key", at=("api_keys", "header"))
        return self

    @model_validator(mode="after")
    def _upstream_tokens_stand_apart(self) -> "Settings":
        token = self.upstream_token
        if token is not None and token.header in self.credential_headers():
            message = f"callers show credentials in `{token.header}`"
            raise InvalidValue(message, hint="for example x-authz-token", at=("upstream_token", "header"))
        return self

    @model_validator(mode="after")
    def _identity_headers_can_be_removed(self) -> "Settings":
        credentials = self.caller_headers()
        for number, name in enumerate(self.identity_headers):
            if not settable_header(name):
                message = f"the header `{name}` belongs to the connection or to Envoy"
                raise InvalidValue(message, hint="no request goes without it", at=("identity_headers", number))
            if name in credentials:
                message = f"callers show credentials in `{name}`, and what is removed first is never seen"
                hint = "remove it once it is checked: `remove_headers` in the answers of policies"
                raise InvalidValue(message, hint=hint, at=("identity_headers", number))
        return self

    @model_validator(mode="after")
    def _the_candidate_is_elsewhere(self) -> "Settings":
        if self.candidate is not None:
            mine, others = self.candidate.directory.absolute(), self.policy_directory.absolute()
            if mine.is_relative_to(others) or others.is_relative_to(mine):
                message = "the candidate needs a directory of its own, beside `policies.directory`"
                raise InvalidValue(message, hint="for example candidate", at=("candidate", "directory"))
        return self

    @model_validator(mode="after")
    def _issuers_differ(self) -> "Settings":
        names: dict[str, str] = {}
        for name, issuer in self.issuers.items():
            other = names.setdefault(issuer.issuer, name)
            if other != name:
                message = f"the issuers `{other}` and `{name}` are the same"
                raise InvalidValue(message, hint="each `issuer` stands once", at=("issuers", name, "issuer"))
        return self

    @model_validator(mode="after")
    def _one_issuer_is_asked(self) -> "Settings":
        asked = [name for name, issuer in self.issuers.items() if issuer.introspection is not None]
        if len(asked) > 1:
            message = f"`{asked[0]}` has `introspection` already, and nothing would tell whose an opaque token is"
            raise InvalidValue(message, hint="keep it for one issuer", at=("issuers", asked[1], "introspection"))
        return self
