"""What changes a header before ext_authz asks, which the decision then rests on."""

from collections.abc import Iterator

from authz_server.doctor.envoy import EXT_AUTHZ, Manager
from authz_server.doctor.finding import Finding
from authz_server.doctor.matchers import fits
from authz_server.doctor.needs import Needs
from authz_server.doctor.routes import FILTER_CONFIG, parts
from authz_server.doctor.view import View

_EARLY = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
_FILTER = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
_JWT = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
_TOKEN_PLACES = ("from_headers", "from_params", "from_cookies")
_HOST = ("host", ":authority")


def about_changes_before(manager: Manager, needs: Needs) -> Iterator[Finding]:
    """The findings about one connection manager's changes of headers, up to its last ext_authz filter.

    What routes add and remove comes later: the router does it.
    """
    filters = manager.filters
    places = [number for number, each in enumerate(filters) if each["typed_config"].type == EXT_AUTHZ]
    if not places:
        return
    before = filters[: places[-1]]
    for mutation in (*_early(manager), *_of_filters(before), *_on_routes(manager, before)):
        yield from _about_mutation(mutation, needs)
    for each in before:
        if each["typed_config"].type == _JWT:
            yield from _about_tokens(each["typed_config"], needs)


def _early(manager: Manager) -> Iterator[View]:
    for each in manager.config["early_header_mutation_extensions"].each():
        if each["typed_config"].type == _EARLY:
            yield from each.at("typed_config", "mutations").each()


def _of_filters(before: list[View]) -> Iterator[View]:
    for each in before:
        if each["typed_config"].type == _FILTER:
            yield from each.at("typed_config", "mutations", "request_mutations").each()


def _on_routes(manager: Manager, before: list[View]) -> Iterator[View]:
    names = {each["name"].text for each in before if each["typed_config"].type == _FILTER}
    for part in parts(manager.routes):
        for name, override in part["typed_per_filter_config"].items():
            if name in names:
                config = override["config"] if override.type == FILTER_CONFIG else override
                yield from config.at("mutations", "request_mutations").each()


def _about_mutation(mutation: View, needs: Needs) -> Iterator[Finding]:
    removed, written = mutation["remove"], mutation.at("append", "header", "key")
    if _is_guarded(removed.text, needs):
        yield _removed(removed.text, removed, f"# leave `remove: {removed.text}` out")
    matcher = mutation.at("remove_on_match", "key_matcher")
    taken = [name for name in sorted({*_HOST, *needs.caller_headers}) if matcher and fits(matcher, name)]
    if taken:
        yield _removed(taken[0], matcher, f"# a matcher that does not fit {', '.join(taken)}")
    mend = f"# leave `append` of `{written.text}` out"
    if _is_guarded(written.text, needs):
        means = "the policy is chosen by it" if _is_host(written.text) else "it is taken for what the caller shows"
        message = f"`{written.text}` is written before Envoy asks: {means}, whatever was sent"
        yield Finding("header_written_before", written.place, message, mend)
    elif written.text.lower() in needs.identity_headers:
        message = f"Envoy writes `{written.text}` before it asks, which only we may write"
        yield Finding("identity_header_written", written.place, message, mend)


def _about_tokens(config: View, needs: Needs) -> Iterator[Finding]:
    """Of a token that it has verified, this filter leaves nothing to those behind it, unless it is told to."""
    for provider in dict(config["providers"].items()).values():
        if provider["forward"].on:
            continue
        names = [each["name"].text for each in provider["from_headers"].each()]
        if not any(provider[place] for place in _TOKEN_PLACES):
            names = ["authorization"]
        for name in names:
            if _is_guarded(name, needs):
                yield _removed(name, provider, "forward: true   # for the provider")


def _removed(name: str, view: View, mend: str) -> Finding:
    means = "every request is refused" if _is_host(name) else "what callers show there is never seen"
    message = f"`{name}` is removed before Envoy asks: {means}"
    return Finding("header_removed_before", view.place, message, mend)


def _is_guarded(name: str, needs: Needs) -> bool:
    return _is_host(name) or name.lower() in needs.caller_headers


def _is_host(name: str) -> bool:
    return name.lower() in _HOST
