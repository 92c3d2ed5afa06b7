"""The identities of the compose demo: a development CA, certificates that it renews, and the token issuer's keys.

    python identities.py CALLERS ENVOY PUBLIC

Three directories: callers' certificates with their keys, and the key that signs tokens; what Envoy watches; what the
authorization server verifies with.
"""

import signal
import sys
from pathlib import Path
from threading import Event

import msgspec

from authz_server.dev.ca import create_ca
from authz_server.dev.files import write_file
from authz_server.dev.issuer import create_issuer
from authz_server.dev.layout import ENVOY_ID, TRUST_DOMAIN, WORKLOADS
from authz_server.dev.renewal import Holder, keep_renewed, renew, to_envoy, to_pem_files
from authz_server.envoy.config_secrets import bundles_secret


def main(callers: Path, envoy: Path, public: Path) -> None:
    """Write the identities, then keep them fresh until SIGTERM."""
    stop = Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    ca, issuer = create_ca(TRUST_DOMAIN), create_issuer()
    holders = [Holder(spiffe_id, to_pem_files(callers, name)) for name, spiffe_id in WORKLOADS.items()]
    holders.append(Holder(ENVOY_ID, to_envoy(envoy), dns_names=(f"*.{TRUST_DOMAIN}", "localhost")))
    due = renew(ca, holders)
    issuer.write(callers / "issuer.key")
    write_file(envoy / "bundles.yaml", bundles_secret([ca.bundle_pem]))
    for directory in (callers, public):
        write_file(directory / "ca.pem", ca.bundle_pem)
    write_file(public / "jwks.json", msgspec.json.encode(issuer.jwks()).decode())
    keep_renewed(ca, holders, due, stop)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
