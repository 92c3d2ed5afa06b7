"""What is wrong with an Envoy configuration."""

from typing import Literal

from msgspec import Struct

Severity = Literal["danger", "broken", "advice"]
"""A request may pass that should not; requests are denied that should not be; a safety net is missing."""

SEVERITIES: dict[str, Severity] = {
    "no_ext_authz": "danger",
    "upgrade_without_ext_authz": "danger",
    "filter_disabled": "danger",
    "failure_mode_allow": "danger",
    "failures_pass": "danger",
    "filter_enabled": "danger",
    "no_grpc_service": "broken",
    "wrong_api_version": "broken",
    "too_little_time": "broken",
    "no_peer_certificate": "broken",
    "headers_withheld": "broken",
    "body_withheld": "danger",
    "body_as_text": "broken",
    "body_bound_unsaid": "broken",
    "body_bound_wrong": "danger",
    "metadata_withheld": "broken",
    "status_on_error": "danger",
    "clear_route_cache": "danger",
    "filter_after": "danger",
    "header_written_before": "danger",
    "header_removed_before": "broken",
    "disabled_on_route": "danger",
    "other_server_on_route": "danger",
    "unknown_service": "broken",
    "revision_not_there": "broken",
    "host_without_policy": "broken",
    "identity_header_written": "danger",
    "escaped_slashes_withheld": "broken",
    "upgrade_not_enabled": "broken",
    "path_not_normalized": "advice",
    "underscores_accepted": "advice",
    "certificate_header_forwarded": "danger",
    "certificate_header_mismatch": "broken",
    "no_client_certificates": "broken",
    "untrusted_certificates": "danger",
    "session_resumption": "advice",
    "raw_tcp": "danger",
    "check_without_tls": "danger",
    "admin_exposed": "danger",
}
"""Every code, in the order in which findings are told."""


class Finding(Struct, frozen=True):
    """One thing that does not fit. `code` is stable and for machines, the rest is for people."""

    code: str
    place: str
    """`file:line:column`, or the way to it in a configuration dump."""
    message: str
    """What is set, and what that does."""
    mend: str
    """YAML that mends it."""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return SEVERITIES[self.code]
