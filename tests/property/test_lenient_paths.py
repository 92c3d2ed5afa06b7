"""Lenient services: whatever a backend takes a path for was decided, and allowed."""

from itertools import product
from pathlib import Path as Directory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.errors import Refused
from authz_server.model import Path
from authz_server.pipeline import check
from authz_server.request.path import canonical_path
from authz_server.request.readings import MAX_READINGS, lenient_target, readings
from authz_server.snapshot import Snapshot
from tests.builders import plan_of, request, snapshot_of
from tests.property.backends import BACKENDS, INNER, PROXIES

PIECES = [
    *("/", "/", "/", "//", "..", ".", "a", "b", "public", "admin", "c d", "é", ";", ";x=1", "\\", "?", "#", "%"),
    *("/public/", "/admin", "/../", "/..;/", "A", "+", "&", "x.txt"),
]
ESCAPED = {piece: "".join(f"%{byte:02{case}}" for byte in piece.encode()) for piece, case in product(PIECES, "xX")}
NEEDS_ESCAPING = set(" é?#%")


@st.composite
def paths(draw: st.DrawFn) -> str:
    """A path of pieces that are written plainly, escaped, or escaped twice."""
    written = []
    for piece in draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6)):
        how = draw(st.integers(0, 4))
        plain = piece if not NEEDS_ESCAPING & set(piece) else ESCAPED[piece]
        written.append([plain, plain, plain, ESCAPED[piece], ESCAPED[piece].replace("%", "%25")][how])
    return "/" + "".join(written)


def path_of(text: str) -> Path:
    """What rules would be asked about, if this were the only reading."""
    *segments, last = text.removeprefix("/").split("/")
    whole = [*segments, last] if last else segments
    return Path(tuple(segment.replace(INNER, "/") for segment in whole), not last)


@given(paths())
def test_what_a_backend_reads_is_a_reading(path: str) -> None:
    """Nineteen servers, also behind proxies: none takes a path for anything that is not decided."""
    try:
        found = {reading.path for reading in readings(lenient_target(path).path_text)}
    except Refused:
        return
    for backend in BACKENDS:
        for proxy in PROXIES:
            assert path_of(backend(proxy(path))) in found, f"{backend.__name__} behind {proxy.__name__}"
        assert path_of(backend(path)) in found, backend.__name__


@given(paths())
def test_a_reading_of_a_reading_is_a_reading(path: str) -> None:
    """Nothing more can be done to a path than what was done, and each reading is there once."""
    try:
        found = readings(lenient_target(path).path_text)
    except Refused:
        return
    assert found[0].path == path_of(path)
    assert len({reading.path for reading in found}) == len(found) <= MAX_READINGS


@given(st.text() | paths())
def test_what_is_read_strictly_is_read_leniently_as_well(path: str) -> None:
    """The strict reading is among the lenient ones."""
    try:
        strict = canonical_path(path)
    except Refused:
        return
    found = [reading.path for reading in readings(lenient_target(path).path_text)]
    assert strict.path in found


@given(st.text(st.characters(codec="latin-1")) | paths())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a refusal comes of a path that cannot be read."""
    try:
        found = readings(lenient_target(text).path_text)
    except Refused:
        return
    for reading in found:
        assert not set("".join(reading.path.segments)) & set("\0\x01\n\x7f\x80")


POLICY = """
    kind: service
    name: store
    hosts: ["*"]
    paths: lenient
    rules:
      - {id: public, effect: allow, from: anyone, to: [{paths: [/public, /public/, "/public/**"]}]}
      - {id: files, effect: allow, from: anyone, to: [{paths: ["/a/{name}", "/b/**"]}], when: 'request.path != "/b/a"'}
      - {id: no-admin, effect: deny, to: [{paths: ["/admin/**", "/public/admin", "/public/admin/**"]}]}
"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """What is decided with."""
    return snapshot_of(plan_of(tmp_path_factory.mktemp("store"), store=POLICY))


def is_allowed(path: Path) -> bool:
    """The policy in plain words, about one reading."""
    first, *rest = path.segments or ("",)
    if first == "public":
        return not rest or rest[0].casefold().rstrip(". ") != "admin"
    if first == "b":
        return bool(rest) and (rest != ["a"] or path.trailing_slash)
    return first == "a" and len(rest) == 1 and rest[0] != "" and not path.trailing_slash


@given(path=st.sampled_from(["", "/public", "/b/x", "/a/x"]).flatmap(lambda prefix: paths().map(prefix.__add__)))
def test_what_is_allowed_is_allowed_for_every_backend(snapshot: Snapshot, path: str) -> None:
    """Every server reads an allowed path as one that the same policy allows."""
    if not check(request("GET", path), snapshot, 0.0).allowed:
        return
    for backend in BACKENDS:
        assert is_allowed(path_of(backend(path))), backend.__name__


def test_paths_are_allowed_at_all(tmp_path: Directory) -> None:
    """What allows nothing would prove nothing."""
    snapshot = snapshot_of(plan_of(tmp_path, store=POLICY))
    for path in ("/public/a%2Fb", "/public//a;x=1", "/b/x/../c%20d", "/public/a%252Fb", "/b/%2e/c", "/b/c\\d"):
        assert check(request("GET", path), snapshot, 0.0).allowed, path
