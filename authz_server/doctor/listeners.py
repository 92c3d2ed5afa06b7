"""What is wrong with listeners: paths and headers as they arrive, client certificates, ways around HTTP."""

from collections.abc import Iterator

from authz_server.doctor.envoy import TCP_PROXY, Chain, Envoy, Manager
from authz_server.doctor.finding import Finding
from authz_server.doctor.needs import Needs
from authz_server.doctor.services import KEPT, may_be_lenient
from authz_server.doctor.view import View

_ESCAPED_SLASHES = "path_with_escaped_slashes_action"
_PATHS = "normalize_path: true\nmerge_slashes: true"
_CERTIFICATE_HEADER = "forward_client_cert_details"
_PASSED_ON = ("FORWARD_ONLY", "APPEND_FORWARD", "ALWAYS_FORWARD_ONLY")


def about_manager(manager: Manager, needs: Needs) -> Iterator[Finding]:
    """The findings about what one connection manager does to a request before it is asked about."""
    config = manager.config
    lacking = [name for name in ("normalize_path", "merge_slashes") if not config[name].on]
    lenient = may_be_lenient(manager, needs)
    if config[_ESCAPED_SLASHES].text in KEPT and not lenient:
        lacking.append(_ESCAPED_SLASHES)
    if lacking:
        message = f"paths arrive as clients wrote them ({', '.join(lacking)}): those with two readings are denied"
        mend = f"{_PATHS}\n{_ESCAPED_SLASHES}: {'KEEP_UNCHANGED' if lenient else 'REJECT_REQUEST'}"
        yield Finding("path_not_normalized", config.place, message, mend)
    underscores = config.at("common_http_protocol_options", "headers_with_underscores_action")
    if underscores.text not in ("REJECT_REQUEST", "DROP_HEADER"):
        message = "header names with underscores are let in, which some upstreams read as dashes"
        mend = "common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}"
        yield Finding("underscores_accepted", underscores.place, message, mend)
    yield from _about_certificate_header(config, needs)


def _about_certificate_header(config: View, needs: Needs) -> Iterator[Finding]:
    how = config[_CERTIFICATE_HEADER].text or "SANITIZE"
    place = config[_CERTIFICATE_HEADER].place
    if how == "ALWAYS_FORWARD_ONLY" or (needs.forwarded is None and how in _PASSED_ON):
        message = f"`{how}` passes on the x-forwarded-client-cert that a client may have made up"
        yield Finding("certificate_header_forwarded", place, message, f"{_CERTIFICATE_HEADER}: SANITIZE")
    elif needs.forwarded is not None:
        wanted = "APPEND_FORWARD" if needs.forwarded else "FORWARD_ONLY"
        if how != wanted:
            said = f"`workloads.xfcc.appended: {str(needs.forwarded).lower()}`"
            message = f"{said} means {wanted} here, and Envoy has {how}: callers behind proxies are refused"
            yield Finding("certificate_header_mismatch", place, message, f"{_CERTIFICATE_HEADER}: {wanted}")


def about_chain(chain: Chain, envoy: Envoy, needs: Needs) -> Iterator[Finding]:
    """The findings about one filter chain, its TLS, and what it does beside HTTP."""
    if any(manager.chain == chain for manager in envoy.managers) and needs.certificates:
        yield from _about_tls(chain, needs)
    protected = set(_clusters_of_routes(envoy))
    for config in chain.filters:
        cluster = config["cluster"]
        if config.type == TCP_PROXY and cluster.text in protected:
            message = f"listener `{chain.listener}` carries raw TCP to `{cluster.text}`, past every decision"
            yield Finding("raw_tcp", cluster.place, message, "# an HTTP connection manager with ext_authz in its place")


def _clusters_of_routes(envoy: Envoy) -> Iterator[str]:
    for manager in envoy.managers:
        for host in manager.routes["virtual_hosts"].each():
            for route in host["routes"].each():
                yield route.at("route", "cluster").text
                for part in route.at("route", "weighted_clusters", "clusters").each():
                    yield part["name"].text


def _about_tls(chain: Chain, needs: Needs) -> Iterator[Finding]:
    common = chain.tls["common_tls_context"]
    validation = [
        common["validation_context"],
        common["validation_context_sds_secret_config"],
        common["combined_validation_context"],
    ]
    if not any(validation):
        message = f"listener `{chain.listener}` does not ask for client certificates, and policies go by workloads"
        mend = "common_tls_context: {validation_context: {trusted_ca: {filename: certs/bundle.pem}}}"
        yield Finding("no_client_certificates", (chain.tls or chain.chain).place, message, mend)
        return
    contexts = [validation[0], validation[2]["default_validation_context"]]
    for context in contexts:
        if context["trust_chain_verification"].text == "ACCEPT_UNTRUSTED" and not needs.verified:
            message = (
                "Envoy takes certificates that nobody has signed, and the configuration has no bundle to verify with"
            )
            mend = "trust_chain_verification: VERIFY_TRUST_CHAIN"
            yield Finding("untrusted_certificates", context["trust_chain_verification"].place, message, mend)
    resumption = ("disable_stateless_session_resumption", "disable_stateful_session_resumption")
    if not all(chain.tls[name].on for name in resumption):
        message = "a resumed TLS session brings back a client certificate that Envoy does not verify again"
        yield Finding("session_resumption", chain.tls.place, message, "\n".join(f"{name}: true" for name in resumption))
