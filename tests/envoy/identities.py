"""The certificates of a test: of callers good and bad, of Envoy, and of our server."""

from pathlib import Path

from authz_server.dev.ca import Svid, create_ca
from authz_server.dev.files import write_file
from authz_server.dev.renewal import Holder, renew, to_envoy, to_pem_files
from authz_server.envoy.config_secrets import bundles_secret
from tests.envoy.clients import Caller

TRUST_DOMAIN = "shop.example"
WEB, BATCH = "spiffe://shop.example/ns/front/sa/web", "spiffe://shop.example/ns/batch/sa/nightly"
AUTHZ_NAME = "authz.shop.example"
ENVOY_ID, AUTHZ_ID = "spiffe://shop.example/envoy/edge", "spiffe://shop.example/authz"


class Identities:
    """A CA, and everybody's certificates in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ca, self._foreign = create_ca(TRUST_DOMAIN), create_ca(TRUST_DOMAIN)
        self._ca.write(directory)
        write_file(directory / "envoy" / "bundles.yaml", bundles_secret([self._ca.bundle_pem]))
        self.renew()
        self._write("two-names", self._ca.issue(WEB, "spiffe://shop.example/admin"))
        self._write("other-domain", self._ca.issue("spiffe://other.example/ns/front/sa/web"))
        self._write("foreign", self._foreign.issue(WEB))

    def renew(self) -> None:
        """Give everybody with a long life a fresh certificate: two workloads, Envoy and our server."""
        files = {"web": WEB, "batch": BATCH}
        holders = [Holder(spiffe_id, to_pem_files(self.directory, name)) for name, spiffe_id in files.items()]
        # The DNS name is for gRPC's own clients, which cannot look for a SPIFFE ID.
        holders.append(Holder(AUTHZ_ID, to_pem_files(self.directory, "authz"), dns_names=(AUTHZ_NAME,)))
        envoy = Holder(ENVOY_ID, to_envoy(self.directory / "envoy"), dns_names=(f"*.{TRUST_DOMAIN}",))
        renew(self._ca, [*holders, envoy])

    def caller(self, name: str | None) -> Caller:
        """Somebody with this certificate; None has none."""
        ca = self.directory / "ca.pem"
        return Caller(ca, self.directory / f"{name}.pem", self.directory / f"{name}.key") if name else Caller(ca)

    def keep(self, name: str) -> Caller:
        """Somebody with this certificate as it is now, whatever is renewed."""
        kept = self.directory / "kept"
        kept.mkdir(exist_ok=True)
        for suffix in ("pem", "key"):
            (kept / f"{name}.{suffix}").write_bytes((self.directory / f"{name}.{suffix}").read_bytes())
        return Caller(self.directory / "ca.pem", kept / f"{name}.pem", kept / f"{name}.key")

    def _write(self, name: str, svid: Svid) -> None:
        to_pem_files(self.directory, name)(svid)
