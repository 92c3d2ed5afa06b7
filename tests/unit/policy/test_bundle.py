"""Bundles of policies: what is signed is what is read, and nothing else is taken."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from authz_server.policy import bundle
from authz_server.policy.bundle import BundleError, build_bundle, key_id, open_bundle, sign_bundle
from authz_server.policy.files import PolicyFile, policy_file, read_directory, revision

POLICIES = Path(__file__).parents[3] / "policies"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
FILES = read_directory(POLICIES)[0]
SIGNED = build_bundle(FILES, KEY)


def members(content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    """What is in an archive."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def packed(contents: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """An archive of these."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for member, content in contents:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def refusal(content: bytes, *keys: Ed25519PrivateKey) -> str:
    """The code with which a bundle is refused."""
    with pytest.raises(BundleError) as refused:
        open_bundle(content, [key.public_key() for key in keys or (KEY,)])
    assert str(refused.value)
    return refused.value.code


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    """A member of an archive."""
    info = tarfile.TarInfo(name)
    info.type = kind
    return info


def test_what_was_built_is_read() -> None:
    """The files, their revision, and who vouches for them."""
    opened = open_bundle(SIGNED, [OTHER.public_key(), KEY.public_key()])
    assert [(file.path, file.content) for file in opened.files] == [(file.path, file.content) for file in FILES]
    assert opened.manifest.revision == revision(FILES)
    assert opened.key == key_id(KEY.public_key())


def test_the_same_files_give_the_same_bytes() -> None:
    """In whichever order they come."""
    assert build_bundle(list(reversed(FILES)), KEY) == SIGNED
    assert sign_bundle(build_bundle(FILES), KEY) == SIGNED
    assert sign_bundle(sign_bundle(SIGNED, OTHER), KEY) == SIGNED


def test_without_a_signature_that_is_trusted_it_is_refused() -> None:
    """None, one of another key, and one of another manifest under the name of a key that is trusted."""
    assert refusal(build_bundle(FILES)) == "bundle_unsigned"
    assert refusal(SIGNED, OTHER) == "bundle_unknown_key"
    elsewhere = {info.name: each for info, each in members(build_bundle(FILES[1:], KEY))}
    forged = [(info, elsewhere[info.name] if info.name == bundle.SIGNATURE else each) for info, each in members(SIGNED)]
    assert refusal(packed(forged)) == "bundle_bad_signature"


def _altered(contents: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    contents[-1] = (contents[-1][0], contents[-1][1] + b" ")


def _one_less(contents: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    contents.pop()


def _one_more(contents: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    contents.append((member("policies/more.yaml"), b""))


def _no_manifest(contents: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    contents.pop(0)


def _twice(contents: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    contents.append(contents[-1])


def _manifest(contents: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    contents[0] = (contents[0][0], contents[0][1].replace(b'"format": 1', b'"format": 2'))


def _big(contents: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    contents.append((member("policies/big.yaml"), bytes(2 * 1024 * 1024)))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_altered, "bundle_altered"),
        (_one_less, "bundle_altered"),
        (_one_more, "bundle_altered"),
        (_no_manifest, "bundle_unreadable"),
        (_twice, "bundle_unsafe_member"),
        (_manifest, "bundle_bad_signature"),
        (_big, "bundle_too_big"),
    ],
)
def test_what_was_altered_is_refused(change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None], code: str) -> None:
    """A file, one more, one less, the manifest."""
    contents = members(SIGNED)
    change(contents)
    assert refusal(packed(contents)) == code


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../x.yaml", "policies/../../x.yaml", "policies//x.yaml", "policies/./x", "policies/"),
        *("policies/a\\..\\b", "policies/a\nb", "policies/" + "x" * 2000, "./manifest.json", "x.yaml"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    """Before anything of it is read."""
    assert refusal(packed([*members(SIGNED), (member(name), b"")])) == "bundle_unsafe_path"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_file_is_refused(kind: bytes) -> None:
    """A link could lead out of the directory."""
    link = member("policies/x.yaml", kind)
    link.linkname = "/etc/passwd"
    assert refusal(packed([*members(SIGNED), (link, b"")])) == "bundle_unsafe_member"


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is unpacked than policies may be."""
    monkeypatch.setattr(bundle, "MAX_UNPACKED_BYTES", 1024 * 1024)
    assert refusal(gzip.compress(bytes(8 * 1024 * 1024))) == "bundle_too_big"


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a directory."""
    monkeypatch.setattr(bundle, "MAX_FILES", len(FILES) - 1)
    assert refusal(SIGNED) == "bundle_too_big"


@pytest.mark.parametrize(
    "content",
    [b"", b"x", SIGNED[:-1], SIGNED + b"x", SIGNED + SIGNED, gzip.compress(b"x" * 2000, mtime=0)],
    ids=["nothing", "no gzip", "cut off", "a byte behind", "another behind", "no tar"],
)
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    """Nor one with something behind it."""
    assert refusal(content) == "bundle_unreadable"


@given(at=st.integers(0, 2000), content=st.binary(min_size=1, max_size=20))
def test_any_bytes_are_refused_or_are_the_bundle(at: int, content: bytes) -> None:
    """Of an archive that was tampered with, nothing comes but what was signed."""
    unpacked = bytearray(gzip.decompress(SIGNED))
    unpacked[at : at + len(content)] = content
    try:
        opened = open_bundle(gzip.compress(bytes(unpacked)), [KEY.public_key()])
    except BundleError:
        return
    assert opened.manifest.revision == revision(FILES)


def test_a_name_that_would_not_be_taken_is_not_packed() -> None:
    """Whoever builds it is told."""
    file: PolicyFile = policy_file(Path(), "a\nb.yaml", b"")
    with pytest.raises(BundleError, match="cannot be in a bundle"):
        build_bundle([file])
