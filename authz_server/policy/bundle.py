"""Policies as one signed file: a gzipped tar archive of the files and a manifest of their hashes.

The manifest comes first, its signature (Ed25519) second, then the files below `policies/`, sorted. What is signed is
the manifest, which has the hash of every file and the revision that they are.
"""

import base64
import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from msgspec import Struct

from authz_server.documents.source import MAX_BYTES, printable
from authz_server.policy.files import MAX_FILES, MAX_TOTAL_BYTES, PolicyFile, policy_file, revision

T = TypeVar("T")

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
FOLDER = "policies/"
FORMAT = 1
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_PATH = 1024
MAX_UNPACKED_BYTES = MAX_TOTAL_BYTES + MAX_MANIFEST_BYTES + 2048 * (MAX_FILES + 4)
"""All files, the manifest, and what the archive adds to each of them."""
# So that a signature of something else made with the same key is none of a bundle.
_PURPOSE = b"authz-server policy bundle\n"


class BundleError(Exception):
    """The bundle cannot be taken: `code` is stable, the text is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(printable(message))
        self.code = code


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle holds."""

    format: int
    revision: str
    """Of the files, as `authz validate` prints it."""
    files: dict[str, str]
    """Path -> SHA-256 of the content, hexadecimal."""


class Signature(Struct, frozen=True, forbid_unknown_fields=True):
    """Who vouches for a manifest."""

    key: str
    """Id of the public key."""
    signature: str
    """Ed25519, in base64."""


class Bundle(Struct, frozen=True):
    """A bundle whose files are those of its manifest."""

    manifest: Manifest
    files: tuple[PolicyFile, ...]
    """By path."""
    key: str | None
    """Id of the key that vouches for it; None where that was not asked."""


def key_id(key: Ed25519PublicKey) -> str:
    """The first half of the SHA-256 of a key, by which people tell keys apart."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:32]


def parse_public_key(pem: bytes) -> Ed25519PublicKey:
    """The key that `authz bundle keys` has written as the public one. Raises ValueError."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is no public Ed25519 key in PEM")
    return key


def build_bundle(files: Iterable[PolicyFile], key: Ed25519PrivateKey | None = None) -> bytes:
    """The bundle of some files, signed if there is a key; the same files and key give the same bytes.

    Raises BundleError for names that would not be taken when it is read.
    """
    ordered = sorted(files, key=lambda file: file.path)
    for file in ordered:
        if not is_safe_path(file.path):
            raise BundleError("bundle_unsafe_path", f"the name {file.path!r} cannot be in a bundle")
    manifest = Manifest(FORMAT, revision(ordered), {file.path: file.digest for file in ordered})
    encoded = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"
    return _packed(encoded, _signed(encoded, key) if key else None, ordered)


def sign_bundle(content: bytes, key: Ed25519PrivateKey) -> bytes:
    """The same bundle with a signature of this key, in place of another if there is one. Raises BundleError."""
    members = _members(content)
    bundle = _opened(members, None)
    return _packed(members[MANIFEST], _signed(members[MANIFEST], key), bundle.files)


def open_bundle(content: bytes, keys: Sequence[Ed25519PublicKey]) -> Bundle:
    """What a bundle holds that one of the keys vouches for. Raises BundleError."""
    return _opened(_members(content), keys)


def _opened(members: Mapping[str, bytes], keys: Sequence[Ed25519PublicKey] | None) -> Bundle:
    encoded = members.get(MANIFEST)
    if encoded is None:
        raise BundleError("bundle_unreadable", f"there is no `{MANIFEST}` in it")
    # First who says so, then what is said.
    key = None if keys is None else _voucher(encoded, members.get(SIGNATURE), keys)
    manifest = _decoded(encoded, Manifest, MANIFEST)
    if manifest.format != FORMAT:
        raise BundleError("bundle_unknown_format", f"its format is {manifest.format}; this version reads {FORMAT}")
    contents = {name.removeprefix(FOLDER): each for name, each in members.items() if name.startswith(FOLDER)}
    files = [policy_file(Path(FOLDER), path, contents[path]) for path in sorted(contents)]
    if {file.path: file.digest for file in files} != manifest.files or revision(files) != manifest.revision:
        raise BundleError("bundle_altered", f"its files are not those of its `{MANIFEST}`")
    return Bundle(manifest, tuple(files), key)


def _voucher(manifest: bytes, encoded: bytes | None, keys: Sequence[Ed25519PublicKey]) -> str:
    if encoded is None:
        raise BundleError("bundle_unsigned", "it is not signed; who vouches for it does that (`authz bundle sign`)")
    signature = _decoded(encoded, Signature, SIGNATURE)
    by_id = {key_id(key): key for key in keys}
    if signature.key not in by_id:
        expected = ", ".join(sorted(by_id))
        message = f"it is signed by the key {signature.key[:64]}, which is none of those expected: {expected}"
        raise BundleError("bundle_unknown_key", message)
    try:
        by_id[signature.key].verify(base64.b64decode(signature.signature, validate=True), _PURPOSE + manifest)
    except (InvalidSignature, ValueError):
        raise BundleError("bundle_bad_signature", "its signature does not fit: it was altered") from None
    return signature.key


def _signed(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    signature = base64.b64encode(key.sign(_PURPOSE + manifest)).decode()
    return msgspec.json.encode(Signature(key_id(key.public_key()), signature)) + b"\n"


def _packed(manifest: bytes, signature: bytes | None, files: Sequence[PolicyFile]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        first = {MANIFEST: manifest} | ({SIGNATURE: signature} if signature is not None else {})
        for name, content in (first | {FOLDER + file.path: file.content for file in files}).items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o644, 0
            tar.addfile(member, io.BytesIO(content))
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream:
        stream.write(archive.getvalue())
    return packed.getvalue()


def _members(content: bytes) -> dict[str, bytes]:
    """Name -> content of all that is in the archive: regular files with names that lead nowhere else."""
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(content)), mode="r:") as tar:
            for member in tar:
                _check_member(member, members)
                stream = tar.extractfile(member)
                members[member.name] = stream.read() if stream is not None else b""
    except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError):
        raise BundleError("bundle_unreadable", "what is gzipped in it is no tar archive") from None
    return members


def _check_member(member: tarfile.TarInfo, before: Mapping[str, bytes]) -> None:
    name = member.name
    if not member.isreg() or member.issparse():
        raise BundleError("bundle_unsafe_member", f"{name[:100]!r} is no regular file, but a link, device or folder")
    path = name.removeprefix(FOLDER)
    if name not in (MANIFEST, SIGNATURE) and (not name.startswith(FOLDER) or not is_safe_path(path)):
        raise BundleError("bundle_unsafe_path", f"the name {name[:100]!r} has no place in a bundle")
    if name in before:
        raise BundleError("bundle_unsafe_member", f"{name[:100]!r} is there twice")
    if len(before) >= MAX_FILES + 2 or member.size > (MAX_BYTES if path != name else MAX_MANIFEST_BYTES):
        raise BundleError("bundle_too_big", f"it holds over {MAX_FILES:,} files, or {name[:100]!r} is too big")


def _unpacked(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(content, MAX_UNPACKED_BYTES + 1)
    except zlib.error:
        raise BundleError("bundle_unreadable", "it is not gzipped, or damaged: a bundle is a .tar.gz") from None
    if len(unpacked) > MAX_UNPACKED_BYTES:
        raise BundleError("bundle_too_big", f"it unpacks to over {MAX_UNPACKED_BYTES:,} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise BundleError("bundle_unreadable", "it is cut off, or something follows behind its end")
    return unpacked


def _decoded(encoded: bytes, kind: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(encoded, type=kind)
    except msgspec.DecodeError as error:
        raise BundleError("bundle_unreadable", f"its `{name}` cannot be read: {error}") from None


def is_safe_path(path: str) -> bool:
    """Whether a path below the folder stays there, wherever it is unpacked."""
    parts = path.split("/")
    return len(path) <= MAX_PATH and path.isprintable() and "\\" not in path and not {"", ".", ".."} & set(parts)
