"""The request of a record as rules see it: whatever reads what is not on record raises NotRecorded."""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from authz_server.identity.spiffe import SCHEME, parse_spiffe_id
from authz_server.model import Actor, Path
from authz_server.replay.recorded import Facts, NotRecorded
from authz_server.request.address import client_ip
from authz_server.request.headers import HeaderUnusable


class RecordedHeaders:
    """The headers that are on record."""

    def __init__(self, facts: Facts, *, several: bool) -> None:
        """`several` says that the path has several readings, whose answers are compared."""
        self._facts = facts
        self._several = several

    def raw(self, name: str) -> bytes | None:
        """Anything but None where the header came."""
        try:
            self._value(name)
        except KeyError:
            return None
        return b""

    def single(self, name: str) -> str:
        """The value of a header that came once. Raises HeaderUnusable."""
        value = self._value(name)
        if not isinstance(value, str):
            raise HeaderUnusable(f"the header `{name}` came several times")
        return value

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        value = self._value(name)
        return [part.strip(" \t") for part in value.split(",")] if isinstance(value, str) else value

    def has(self, name: str) -> bool:
        """Whether the header came. Only answers ask this, on which no decision rests where there is one reading."""
        return self._several and self.raw(name) is not None

    def names(self) -> list[str]:
        """Which headers came is on record nowhere."""
        raise NotRecorded("request.headers[*]")

    def _value(self, name: str) -> Any:  # noqa: ANN401 - a text or a list of them
        return self._facts.value(f"request.headers[{name}]", f"request.header_values[{name}]")


class RecordedMembers(Mapping[str, Any]):
    """Claims, or parameters of the query, as far as they are on record."""

    def __init__(self, facts: Facts, variable: str) -> None:
        self._facts = facts
        self._variable = variable

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - any value of JSON
        whole = f"{self._variable}[*]"
        if self._facts.has(whole):
            return self._facts.present(whole)[key]
        return self._facts.value(*self._names(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts.present(f"{self._variable}[*]"))

    def __len__(self) -> int:
        return len(self._facts.present(f"{self._variable}[*]"))

    def _names(self, key: str) -> tuple[str, ...]:
        return (f"{self._variable}[{key}]",)


class RecordedClaims(RecordedMembers):
    """The claims of the user's token."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts, "user.claims")

    def _names(self, key: str) -> tuple[str, ...]:
        # Conditions name a claim whose name is no identifier in brackets, and mean no path.
        return (f"user.claims.{key}",) if "." in key else (f"user.claims.{key}", f"user.claims[{key}]")


class RecordedUser:
    """The user of a record, with the fields of `model.User`."""

    def __init__(self, facts: Facts, issuer: str, subject: str) -> None:
        self._facts = facts
        self.issuer = issuer
        self.subject = subject
        self.claims = RecordedClaims(facts)
        actor = facts.record.actor
        spiffe_id = parse_spiffe_id(actor) if actor is not None and actor.startswith(SCHEME) else None
        self.actor = None if actor is None else Actor(actor, spiffe_id)

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes of the token."""
        return frozenset(self._facts.present("user.scopes"))

    @property
    def roles(self) -> frozenset[str]:
        """The roles of the user."""
        return frozenset(self._facts.present("user.roles"))

    @property
    def groups(self) -> frozenset[str]:
        """The groups of the user."""
        return frozenset(self._facts.present("user.groups"))

    @property
    def expires(self) -> float:
        """When the token expires."""
        return _seconds(self._facts.present("user.expires"), "user.expires")

    @property
    def bound(self) -> bool:
        """Whether the token was bound to a key is on record nowhere."""
        raise NotRecorded("user.bound")


class RecordedCertificate:
    """The certificate of the workload, with the fields of `model.Certificate`."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def __getattr__(self, field: str) -> Any:  # noqa: ANN401 - any value of JSON
        name = f"certificate.{field}"
        value = self._facts.present(name)
        return _seconds(value, name) if field in ("not_before", "not_after") else value


class RecordedOperation:
    """The operation of a record, with the fields of `request.operation.Operation`."""

    def __init__(self, facts: Facts, path: Path, *, strict: bool, several: bool = False) -> None:
        """`strict` says that the path is good everywhere; `several`, that this is one of its readings."""
        self._facts = facts
        traits = facts.traits
        self.method = facts.method
        self.host = facts.host
        self.port: int | None = traits.get("port")
        self.path = path
        self.path_text = facts.path
        self.headers = RecordedHeaders(facts, several=several)
        self.upgrade: str = traits.get("upgrade", "")
        self.is_connect = facts.method == "CONNECT"
        self.is_grpc = "grpc" in traits
        self.grpc = (path.segments[0], path.segments[1]) if strict and traits.get("grpc") == "call" else None
        self.client_ip = client_ip(facts.record.client_ip or "")
        self.id = facts.record.request_id or ""

    @property
    def protocol(self) -> str:
        """The protocol of the request."""
        return str(self._facts.present("request.protocol"))

    @property
    def destination_host(self) -> str:
        """The address that was connected to."""
        return str(self._facts.present("destination.host"))

    @property
    def destination_port(self) -> int:
        """The port that was connected to."""
        return int(self._facts.present("destination.port"))


def _seconds(text: str, name: str) -> float:
    moment = Timestamp()
    try:
        moment.FromJsonString(text)
    except ValueError:
        raise NotRecorded(name) from None
    if moment.nanos:
        # As a float it might not be the number that it was.
        raise NotRecorded(name)
    return float(moment.seconds)
