"""What rules read of a request beyond its head: whether Envoy sends bodies, whole and as bytes, and metadata."""

from collections.abc import Iterator

from authz_server.doctor.finding import Finding
from authz_server.doctor.needs import Needs
from authz_server.doctor.view import View
from authz_server.request.body import SENT_EXTENSION

_BODY = "with_request_body"
_METADATA = "metadata_context_namespaces"


def about_sent(config: View, routes: View, needs: Needs) -> Iterator[Finding]:
    """The findings about one ext_authz filter and the routes behind it."""
    if needs.max_body is not None:
        yield from _about_bodies(config, routes, needs.max_body)
    sent = {each.text for each in config[_METADATA].each()}
    for namespace in sorted(needs.metadata - sent):
        message = f"policies may read the metadata of `{namespace}`, which Envoy does not send"
        yield Finding("metadata_withheld", config.place, message, f"{_METADATA}: [{namespace}]")


def _about_bodies(config: View, routes: View, max_body: int) -> Iterator[Finding]:
    mend = f"{_BODY}: {{max_request_bytes: {max_body + 1}, allow_partial_message: true, pack_as_bytes: true}}"
    buffers = [each for each in (config[_BODY], *_found(_BODY, routes)) if each]
    if not buffers:
        message = "rules read bodies, and Envoy sends none: one without a content-length looks as if none had come"
        yield Finding("body_withheld", config.place, message, mend)
        return
    # Of `pack_as_bytes` Envoy heeds the filter's alone, whatever routes say.
    if not config.at(_BODY, "pack_as_bytes").on:
        message = "bodies come as text, which is not what the upstream gets where it is no UTF-8: they are refused"
        yield Finding("body_as_text", config.place, message, mend)
    said = [each for each in _found(SENT_EXTENSION, routes) if each]
    if not said:
        message = "no route says how much of a body Envoy sends: without a content-length, bodies are denied"
        yield Finding("body_bound_unsaid", config.place, message, f'context_extensions: {{{SENT_EXTENSION}: "…"}}')
    least = min([_number(each["max_request_bytes"]) for each in buffers])
    for each in said:
        if _number(each) > least:
            message = (
                f"a route says that Envoy sends {each.text} bytes of a body, and it sends {least}: the rest is not seen"
            )
            yield Finding("body_bound_wrong", each.place, message, f'{SENT_EXTENSION}: "{least}"')
    for each in _kept_back(routes, said_above=False):
        message = (
            "a route sends no bodies, and it is said that it does: one without a content-length looks as if none came"
        )
        yield Finding("body_bound_wrong", each.place, message, f'context_extensions: {{{SENT_EXTENSION}: ""}}')


def _kept_back(part: View, *, said_above: bool) -> Iterator[View]:
    """Where bodies are switched off although this level, or one around it, says that they are sent.

    Envoy merges `context_extensions` of all levels, and takes from the innermost alone whether bodies are sent.
    """
    said = said_above
    for override in [each for _, each in part["typed_per_filter_config"].items()]:
        for settings in _found("check_settings", override):
            own = settings.at("context_extensions", SENT_EXTENSION)
            said = _number(own) > 0 if own else said
            if said and settings["disable_request_body_buffering"].on:
                yield settings["disable_request_body_buffering"]
    inner = (part["virtual_hosts"], part["routes"], part.at("route", "weighted_clusters", "clusters"))
    for below in [one for each in inner for one in each.each()]:
        yield from _kept_back(below, said_above=said)


def _number(view: View) -> int:
    return int(view.text) if view.text.isascii() and view.text.isdigit() else 0


def _found(name: str, view: View) -> Iterator[View]:
    """Everything of this name, however deep."""
    for key, below in view.items():
        if key == name:
            yield below
        else:
            yield from _found(name, below)
    for below in view.each():
        yield from _found(name, below)
