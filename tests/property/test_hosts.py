"""Canonical hosts: whatever comes in, what is accepted has one form."""

import re

from hypothesis import given
from hypothesis import strategies as st

from authz_server.errors import Reason, Refused
from authz_server.request.host import MAX_HOST_BYTES, Host, canonical_host

labels = st.text(st.sampled_from("abzABZ019-_"), min_size=1, max_size=12)
names = st.lists(labels, min_size=1, max_size=8).map(".".join)
ports = st.none() | st.integers(1, 65535)
hosts = st.text() | st.text(st.sampled_from("aA1-_.:[]@%, \n")) | names


def read(text: str) -> Host | Reason:
    """The canonical host, or why there is none."""
    try:
        return canonical_host(text)
    except Refused as refused:
        return refused.reason


@given(hosts)
def test_a_host_is_refused_or_has_one_form(text: str) -> None:
    """HOST-02: nothing but a lower-case name or a bracketed literal comes out."""
    host = read(text)
    if isinstance(host, Reason):
        assert host is Reason.BAD_HOST
        return
    assert re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]", host.name, re.ASCII)
    assert len(host.name) <= MAX_HOST_BYTES
    assert host.port is None or 0 < host.port <= 65535
    assert canonical_host(host.name) == (host.name, None)


@given(names, ports, st.booleans())
def test_case_trailing_dot_and_port_do_not_change_the_name(name: str, port: int | None, dot: bool) -> None:
    """HOST-02: the variants of one name are one name."""
    text = name + "." * dot + ("" if port is None else f":{port}")
    assert canonical_host(text) == canonical_host(text.upper()) == (name.lower(), port)
