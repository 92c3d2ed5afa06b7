"""What the demo writes before it starts anything: identities, keys and configurations."""

import os
from datetime import datetime
from pathlib import Path

import yaml
from msgspec import Struct

from authz_server.dev.ca import DevelopmentCa, create_ca
from authz_server.dev.files import write_file
from authz_server.dev.issuer import JWKS_PATH, DevelopmentIssuer, create_issuer
from authz_server.dev.layout import (
    AUDIENCE,
    ENVOY_ID,
    ISSUER,
    LOOPBACK,
    TRUST_DOMAIN,
    WORKLOADS,
    Files,
    Ports,
    upstreams,
)
from authz_server.dev.renewal import Holder, renew, to_envoy, to_pem_files
from authz_server.envoy.config import to_yaml
from authz_server.envoy.config_secrets import bundles_secret
from authz_server.envoy.config_settings import Address, EnvoySettings, Upstream

IDENTITY_HEADERS = ("x-user", "x-workload")


class Demo(Struct, frozen=True):
    """One demo: where its files are, which ports it takes, and whose policies it runs."""

    files: Files
    ports: Ports
    policies: Path


class Identities(Struct, frozen=True):
    """Everybody's identities, and when they are due for renewal."""

    ca: DevelopmentCa
    holders: tuple[Holder, ...]
    due: datetime
    issuer: DevelopmentIssuer


def write_identities(demo: Demo) -> Identities:
    """Make a CA, the certificates of workloads and Envoy, and the token issuer's key."""
    files = demo.files
    ca = create_ca(TRUST_DOMAIN)
    ca.write(files.certificates)
    write_file(files.secrets / "bundles.yaml", bundles_secret([ca.bundle_pem]))
    workloads = (Holder(spiffe_id, to_pem_files(files.certificates, name)) for name, spiffe_id in WORKLOADS.items())
    envoy = Holder(ENVOY_ID, to_envoy(files.secrets), dns_names=(f"*.{TRUST_DOMAIN}", "localhost"))
    holders = (*workloads, envoy)
    due = renew(ca, holders)
    issuer = create_issuer()
    issuer.write(files.issuer_key)
    return Identities(ca, holders, due, issuer)


def write_configurations(demo: Demo) -> None:
    """Write the authorization server's configuration and Envoy's."""
    files, ports = demo.files, demo.ports
    settings = {
        "listen": {"address": f"{LOOPBACK}:{ports.check}", "endpoints_file": _beside(files, files.endpoints)},
        "admin": {"listen": f"{LOOPBACK}:{ports.authz_admin}"},
        "policies": {"directory": _beside(files, demo.policies)},
        # Judged as soon as there is one.
        "candidate": {"directory": "candidate"},
        "workloads": {"trust_domains": {TRUST_DOMAIN: {"bundle": _beside(files, files.certificates / "ca.pem")}}},
        "issuers": {
            "corp": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "algorithms": ["ES256"],
                "keys": {"url": f"http://{LOOPBACK}:{ports.issuer}{JWKS_PATH}"},
                "max_lifetime": "1h",
                "required": True,
            }
        },
        "log": {"format": "json"},
        "identity_headers": list(IDENTITY_HEADERS),
        "audit": {"file": {"path": _beside(files, files.audit)}, "spool": {"size": "4MB"}},
        "run_directory": _beside(files, files.endpoints.parent),
    }
    write_file(files.settings, "# Written by `authz dev demo`.\n" + yaml.safe_dump(settings, sort_keys=False))
    envoy = EnvoySettings(
        listener=Address(LOOPBACK, ports.envoy),
        admin=Address(LOOPBACK, ports.envoy_admin),
        # Hosts that no service has are asked about as well: without a route, Envoy would answer 404 by itself.
        upstreams=(*upstreams(ports), Upstream("*", Address(LOOPBACK, ports.service("web")))),
        secrets=str(files.secrets),
        endpoints_file=str(files.endpoints),
        identity_headers=IDENTITY_HEADERS,
    )
    write_file(files.envoy_config, to_yaml(envoy))


def _beside(files: Files, path: Path) -> str:
    """The path as seen from the configuration file, which is what relative paths in it mean."""
    return os.path.relpath(path, files.directory)
