"""The settings of everything that listens: Check, admin and probes."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from authz_server.control.settings.names import ClientName, FileMode
from authz_server.control.settings.places import FilePath, ListenAddress
from authz_server.control.settings.section import Section
from authz_server.documents.invalid import InvalidValue
from authz_server.worker.address import SLOT, TcpAddress


class SocketSettings(Section):
    """Who may open the Unix sockets of the Check listener."""

    noun: ClassVar[str] = "`socket`"

    mode: FileMode = "0600"
    """File mode in octal, as a text."""
    group: str | None = None
    """Name of the group that owns the sockets, such as the one that Envoy runs as."""


class ListenSettings(Section):
    """The Check listener. `listen: 127.0.0.1:9001` is short for the address alone."""

    noun: ClassVar[str] = "`listen`"

    address: ListenAddress = Field(default="127.0.0.1:9001", validate_default=True)
    """IP address and port, or `unix:/run/authz/check-{worker}.sock`; port 0 takes free ports."""
    endpoints: Literal["per_worker", "shared"] = "per_worker"
    """`per_worker`: worker i adds i to the port, or stands for `{worker}` in the path. `shared`: all workers share one
    TCP address, for proxies that can name one only."""
    endpoints_file: FilePath = Field(default="run/endpoints.yaml", validate_default=True)
    """The workers' addresses for Envoy's endpoint discovery, written by `authz serve`; of one server alone."""
    socket: SocketSettings = Field(default={}, validate_default=True)
    transport: Literal["auto", "lean", "grpcio"] = "auto"
    """Who speaks gRPC with the proxy. `lean`: a small server of our own, which costs less; on loopback addresses and
    Unix sockets, without `tls`. `grpcio`: the library, everywhere. `auto`: `lean` on Unix sockets, else `grpcio`."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"address": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _address_fits_endpoints(self) -> "ListenSettings":
        if isinstance(self.address, TcpAddress):
            if self.endpoints == "shared" and self.address.port == 0:
                raise InvalidValue("a shared address needs a port of its own, not 0", at=("address",))
        elif self.endpoints == "shared":
            raise InvalidValue("workers can share a TCP address, but no Unix socket", at=("endpoints",))
        elif SLOT not in self.address.path:
            hint = f"for example unix:/run/authz/check-{SLOT}.sock"
            raise InvalidValue(
                f"each worker has a socket of its own: the path needs `{SLOT}`", hint=hint, at=("address",)
            )
        return self


class TlsSettings(Section):
    """TLS of the Check listener; files are read again when they change."""

    noun: ClassVar[str] = "`tls`"

    certificate: FilePath
    """The server's certificate chain, PEM."""
    key: FilePath
    """Its private key, PEM."""
    client_ca: FilePath | None = None
    """The authorities that sign clients' certificates, PEM; with it a client certificate is required."""
    clients: list[ClientName] = Field(default=[])
    """Who may call Check: SPIFFE IDs or patterns (`spiffe://shop.example/envoy/**`), or certificates by the SHA-256 of
    their DER form (`sha256:<64 hexadecimal digits>`)."""

    @model_validator(mode="after")
    def _clients_need_a_client_ca(self) -> "TlsSettings":
        if self.client_ca is not None and not self.clients:
            raise InvalidValue("`client_ca` needs `clients`", hint="name who may call Check", at=("client_ca",))
        if self.clients and self.client_ca is None:
            raise InvalidValue("`clients` needs `client_ca`", hint="name who signs them", at=("clients",))
        return self


class AdminSettings(Section):
    """The admin address: `/livez`, `/readyz`, `/metrics`, and with `upstream_token` the public keys at `/jwks.json`."""

    noun: ClassVar[str] = "`admin`"

    listen: ListenAddress = Field(default="127.0.0.1:9090", validate_default=True)
    """IP address and port, or a Unix socket."""


class ProbeSettings(Section):
    """A second address with `/livez` and `/readyz` alone, for a kubelet."""

    noun: ClassVar[str] = "`probes`"

    listen: ListenAddress
    """IP address and port, or a Unix socket."""
