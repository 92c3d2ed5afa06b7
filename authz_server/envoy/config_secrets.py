"""The two secret files that Envoy watches: its own certificate, and the bundles that it verifies callers with."""

from collections.abc import Iterable

import yaml
from betterproto2 import Casing
from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    Secret,
    TlsCertificate,
)
from envoy_data_plane.envoy.service.discovery.v3 import DiscoveryResponse
from envoy_data_plane.google.protobuf import Any

from authz_server.envoy.config_sources import BUNDLES, CERTIFICATE


def certificate_secret(chain_pem: str, key_pem: str) -> str:
    """Envoy's certificate with its key, in one file, so that both change at once."""
    return _resource(
        Secret(
            name=CERTIFICATE,
            tls_certificate=TlsCertificate(
                certificate_chain=DataSource(inline_string=chain_pem), private_key=DataSource(inline_string=key_pem)
            ),
        )
    )


def bundles_secret(bundles_pem: Iterable[str]) -> str:
    """The authorities whose certificates Envoy lets in.

    Any of them may sign for any trust domain here: Envoy's SPIFFE validator, which tells them apart, cannot be had
    without requiring a client certificate. The server verifies every leaf with the bundle of its own trust domain.
    """
    authorities = DataSource(inline_string="".join(bundles_pem))
    return _resource(Secret(name=BUNDLES, validation_context=CertificateValidationContext(trusted_ca=authorities)))


def _resource(secret: Secret) -> str:
    response = DiscoveryResponse(resources=[Any.pack(secret)])
    return yaml.safe_dump(response.to_dict(casing=Casing.SNAKE), sort_keys=False)
