"""Where things are in the demo: names, ports and files."""

from pathlib import Path

from msgspec import Struct

from authz_server.envoy.config_settings import Address, Upstream

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 10000
TRUST_DOMAIN = "shop.example"
ISSUER = "https://login.shop.example/"
AUDIENCE = "shop"
WORKLOADS = {
    "web": f"spiffe://{TRUST_DOMAIN}/ns/front/sa/web",
    "orders": f"spiffe://{TRUST_DOMAIN}/ns/orders/sa/orders",
}
ENVOY_ID = f"spiffe://{TRUST_DOMAIN}/envoy/edge"
SERVICES = ("orders", "inventory", "web")


class Ports(Struct, frozen=True):
    """The demo's ports: one block, so that moving it out of somebody's way takes one number."""

    base: int = DEFAULT_PORT

    @property
    def envoy(self) -> int:
        """Envoy's listener."""
        return self.base

    @property
    def envoy_admin(self) -> int:
        """Envoy's admin address."""
        return self.base + 1

    @property
    def authz_admin(self) -> int:
        """Health and metrics of the authorization server."""
        return self.base + 2

    @property
    def issuer(self) -> int:
        """The token issuer's keys."""
        return self.base + 3

    def service(self, name: str) -> int:
        """A sample service."""
        return self.base + 4 + SERVICES.index(name)

    @property
    def check(self) -> int:
        """The first worker's Check; the others count up from here."""
        return self.base + 10

    def fixed(self) -> dict[str, int]:
        """What each port is for, except those of the workers."""
        names = {
            "Envoy": self.envoy,
            "Envoy's admin address": self.envoy_admin,
            "the authorization server's admin address": self.authz_admin,
            "the token issuer": self.issuer,
            "Check": self.check,
        }
        return names | {f"the sample service `{name}`": self.service(name) for name in SERVICES}


class Files(Struct, frozen=True):
    """The demo's files, all in one directory."""

    directory: Path

    @property
    def certificates(self) -> Path:
        """The CA and everybody's certificates."""
        return self.directory / "certs"

    @property
    def secrets(self) -> Path:
        """What Envoy watches."""
        return self.certificates / "envoy"

    @property
    def issuer_key(self) -> Path:
        """The key that tokens are signed with."""
        return self.certificates / "issuer.key"

    @property
    def settings(self) -> Path:
        """The authorization server's configuration."""
        return self.directory / "authz.yaml"

    @property
    def endpoints(self) -> Path:
        """Where the workers are, written by the authorization server."""
        return self.directory / "state" / "endpoints.yaml"

    @property
    def envoy_config(self) -> Path:
        """Envoy's configuration."""
        return self.directory / "envoy.yaml"

    @property
    def audit(self) -> Path:
        """The record of decisions."""
        return self.directory / "decisions.jsonl"

    @property
    def access_log(self) -> Path:
        """Envoy's access log."""
        return self.directory / "access.jsonl"

    @property
    def envoy_log(self) -> Path:
        """What else Envoy says."""
        return self.directory / "envoy.log"

    @property
    def authz_log(self) -> Path:
        """What the authorization server says."""
        return self.directory / "authz.log"

    @property
    def try_list(self) -> Path:
        """What to try, for machines."""
        return self.directory / "try.json"


def host_of(service: str) -> str:
    """The host name under which Envoy reaches a sample service."""
    return f"{service}.{TRUST_DOMAIN}"


def upstreams(ports: Ports) -> tuple[Upstream, ...]:
    """The sample services as Envoy sees them."""
    return tuple(Upstream(host_of(name), Address(LOOPBACK, ports.service(name))) for name in SERVICES)
