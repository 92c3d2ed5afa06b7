"""What is wrong with the ext_authz filter, and with the filters behind it."""

from collections.abc import Iterator

from authz_server.doctor.envoy import EXT_AUTHZ, Manager
from authz_server.doctor.finding import Finding
from authz_server.doctor.matchers import matches
from authz_server.doctor.needs import Needs
from authz_server.doctor.sent import about_sent
from authz_server.doctor.view import View

_HTTP = "envoy.extensions.filters.http."
_KEEP_THE_REQUEST = (
    "router.v3.Router",
    "rbac.v3.RBAC",
    "fault.v3.HTTPFault",
    "buffer.v3.Buffer",
    "compressor.v3.Compressor",
    "decompressor.v3.Decompressor",
    "local_ratelimit.v3.LocalRateLimit",
    "ratelimit.v3.RateLimit",
    "cors.v3.Cors",
    "csrf.v3.CsrfPolicy",
    "grpc_stats.v3.FilterConfig",
    "bandwidth_limit.v3.BandwidthLimit",
    "admission_control.v3.AdmissionControl",
    "adaptive_concurrency.v3.AdaptiveConcurrency",
    "tap.v3.Tap",
    "ext_authz.v3.ExtAuthz",
)
_DEFAULT_TIMEOUT_S = 0.2
_LAST = """\
http_filters:      # nothing between ext_authz and the router that changes a request
- name: envoy.filters.http.ext_authz
- name: envoy.filters.http.router"""


def about_filters(manager: Manager, needs: Needs) -> Iterator[Finding]:
    """The findings about one connection manager's filters."""
    filters = manager.filters
    places = [number for number, each in enumerate(filters) if each["typed_config"].type == EXT_AUTHZ]
    if not places:
        message = f"listener `{manager.chain.listener}` has no ext_authz filter: nobody is asked about its requests"
        yield Finding("no_ext_authz", manager.config.place, message, _LAST)
        return
    for number in places:
        yield from _about_ext_authz(filters[number], needs)
        yield from about_sent(filters[number]["typed_config"], manager.routes, needs)
    for each in filters[places[-1] + 1 :]:
        yield from _about_filter_behind(each)


def _about_filter_behind(each: View) -> Iterator[Finding]:
    kind = each["typed_config"].type
    if kind.removeprefix(_HTTP) in _KEEP_THE_REQUEST:
        return
    name = each["name"].text or kind
    message = f"`{name}` stands behind ext_authz: what it changes of path, headers or route was not decided about"
    yield Finding("filter_after", each.place, message, _LAST)


def _about_ext_authz(each: View, needs: Needs) -> Iterator[Finding]:
    config = each["typed_config"]
    if each["disabled"].on:
        message = "the ext_authz filter is disabled but for routes that enable it"
        yield Finding("filter_disabled", each["disabled"].place, message, "disabled: false")
    if config["failure_mode_allow"].on:
        message = "when our answer does not come, Envoy lets the request pass"
        yield Finding("failure_mode_allow", config["failure_mode_allow"].place, message, "failure_mode_allow: false")
        if needs.failures_are_errors:
            message = (
                "and it lets pass what we could not decide: `answers.failures: error` makes errors of our failures"
            )
            place = config["failure_mode_allow"].place
            yield Finding(
                "failures_pass", place, message, "failure_mode_allow: false   # or `answers: {failures: deny}`"
            )
    yield from _about_fraction(config)
    if not config["grpc_service"]:
        message = "ext_authz does not ask over gRPC, which is how this server answers"
        mend = "grpc_service: {envoy_grpc: {cluster_name: authz}}"
        yield Finding("no_grpc_service", config["http_service"].place, message, mend)
    if config["transport_api_version"].text not in ("V3", "2"):
        message = "ext_authz asks with another version of the API than the one there is"
        yield Finding("wrong_api_version", config["transport_api_version"].place, message, "transport_api_version: V3")
    yield from _about_time(config["grpc_service"], needs)
    if needs.certificates and not config["include_peer_certificate"].on:
        message = "policies go by workloads, and Envoy does not send the caller's certificate: who has one is refused"
        yield Finding("no_peer_certificate", config.place, message, "include_peer_certificate: true")
    yield from _about_status(config)
    if config["clear_route_cache"].on:
        message = "Envoy chooses the route again after our answer: it may be one that was not decided about"
        yield Finding("clear_route_cache", config["clear_route_cache"].place, message, "clear_route_cache: false")
    yield from _about_headers(config, needs)


def _about_time(service: View, needs: Needs) -> Iterator[Finding]:
    """What a request waits for an issuer has to fit into the time that it has.

    Envoy takes the longest pause between its tries for the timeout of each try as well, and does not tell us of it.
    """
    question_s = needs.question_s
    timeout, pause = service["timeout"], service.at("retry_policy", "retry_back_off", "max_interval")
    for name, limit, default, wait_s in (
        ("timeout", timeout, _DEFAULT_TIMEOUT_S, question_s),
        ("max_interval", pause, None, 2 * question_s),
    ):
        given = limit.seconds if limit else default
        if service and given is not None and given <= wait_s:
            message = (
                f"Envoy waits {given:g} s for an answer (`{name}`), and what an issuer says about a token may take "
                f"{wait_s:g} s (`introspection.timeout`): then our answer comes too late"
            )
            yield Finding("too_little_time", limit.place, message, f"{name}: {1.5 * wait_s:.3f}s")


def _about_fraction(config: View) -> Iterator[Finding]:
    for field in ("filter_enabled", "filter_enabled_metadata"):
        if config[field]:
            message = f"`{field}` makes Envoy ask about some requests only, and may be changed while it runs"
            yield Finding("filter_enabled", config[field].place, message, f"# leave `{field}` out")


def _about_status(config: View) -> Iterator[Finding]:
    """Without one Envoy answers 403."""
    status = config.at("status_on_error", "code")
    if not status:
        return
    good = status.number is not None and status.number >= 400
    if status.number is None:
        good = status.text not in ("Continue", "OK", "Empty") and status.text not in _NO_ERRORS
    if not good:
        message = f"when our answer does not come, Envoy answers `{status.text}`, which is no error"
        yield Finding("status_on_error", status.place, message, "status_on_error: {code: ServiceUnavailable}")


_NO_ERRORS = {
    *("Created", "Accepted", "NonAuthoritativeInformation", "NoContent", "ResetContent", "PartialContent"),
    *("MultiStatus", "AlreadyReported", "IMUsed", "MultipleChoices", "MovedPermanently", "Found", "SeeOther"),
    *("NotModified", "UseProxy", "TemporaryRedirect", "PermanentRedirect"),
}


def _about_headers(config: View, needs: Needs) -> Iterator[Finding]:
    """Envoy's rule: `disallowed_headers` wins, and with `allowed_headers` nothing else is sent."""
    allowed, disallowed = config["allowed_headers"], config["disallowed_headers"]
    withheld = {header for header in needs.headers if disallowed and matches(disallowed, header)}
    if allowed:
        withheld |= {header for header in needs.headers if not matches(allowed, header)}
    if withheld:
        names = ", ".join(f"`{name}`" for name in sorted(withheld))
        message = f"Envoy does not send headers that policies or the configuration read: {names}"
        patterns = ", ".join(f"{{exact: {name}}}" for name in sorted(withheld))
        mend = f"allowed_headers: {{patterns: [{patterns}]}}   # beside those that are there" if allowed else ""
        yield Finding(
            "headers_withheld", (allowed or disallowed).place, message, mend or "# leave `disallowed_headers` out"
        )
