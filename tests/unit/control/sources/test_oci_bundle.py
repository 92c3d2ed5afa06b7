"""Policies as a bundle from an OCI registry."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz_server.control.fetching import FetchFailed
from authz_server.control.settings.images import parse_image
from authz_server.control.sources.oci_bundle import OciBundle
from authz_server.control.sources.oci_login import Login
from authz_server.control.sources.source import Refused
from authz_server.control.sources.web import Web
from authz_server.documents.invalid import InvalidValue
from tests.unit.control.issuer_server import answer
from tests.unit.control.sources.bundles import (
    FIRST,
    KEY,
    OTHER_KEY,
    SECOND,
    Fetching,
    bundle_of,
    file_server,
    follows,
    goes_on_without,
)
from tests.unit.control.sources.registry import BASIC, REPOSITORY, Registry, registry_server

DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture(name="registry")
def _registry() -> Iterator[Registry]:
    with registry_server() as registry:
        yield registry


def source(registry: Registry, password: Path | None = None, token_host: str | None = None, at: str = "") -> OciBundle:
    """What that registry has, at a digest or with its tag."""
    web, image = Web(5.0, None), parse_image(registry.image + at)
    username = None if password is None else "ann"
    return OciBundle(web, image, [KEY.public_key()], Login(web, image, username, password, token_host))


@pytest.fixture(name="password")
def _password(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text("secret\n")
    return tmp_path / "password"


@pytest.mark.parametrize("tells_digests", [True, False])
def test_an_image_is_followed(registry: Registry, tmp_path: Path, tells_digests: bool) -> None:
    """By its digest, which is asked for alone where the registry tells it."""
    registry.tells_digests = tells_digests
    follows(lambda: Fetching(tmp_path, source(registry)), registry.push)
    whole, same = ["HEAD manifest", "GET manifest", "GET blob"], ["HEAD manifest"]
    same += [] if tells_digests else ["GET manifest"]
    assert registry.methods() == [*whole, *same, *whole, *same]


def test_a_registry_that_is_down_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    """Also over a restart."""
    goes_on_without(lambda: Fetching(tmp_path, source(registry)), registry.push, registry.stop, registry.start)


def test_a_digest_is_that_content_for_ever(registry: Registry, tmp_path: Path) -> None:
    """There is nothing to ask once it is there, whatever the tag is."""
    digest = registry.push(FIRST)
    registry.push(SECOND)
    fetching = Fetching(tmp_path, source(registry, at=f"@{digest}")).after(0).after()
    assert fetching.files() == FIRST
    assert fetching.counted() == {"fetched": 1, "unchanged": 1}
    assert registry.methods() == ["GET manifest", "GET blob"]


def test_a_bundle_of_another_key_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    """As over HTTP."""
    registry.push(FIRST)
    fetching = Fetching(tmp_path, source(registry)).after(0)
    registry.push_layer(bundle_of(SECOND, OTHER_KEY))
    fetching.after().after()
    assert fetching.files() == FIRST
    assert fetching.counted() == {"fetched": 1, "refused": 2}
    assert "bundle_unknown_key" in fetching.problem()


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"layers": []}, "its manifest has 0 layers, and a bundle is one"),
        ({"layers": [{"digest": DIGEST, "size": 1}] * 2}, "its manifest has 2 layers"),
        ({"layers": [{"digest": "sha512:00", "size": 1}]}, "the digest of its layer is none of SHA-256"),
        ({"layers": [{"digest": "sha256:../../x", "size": 1}]}, "the digest of its layer is none of SHA-256"),
        ({"layers": [{"digest": DIGEST, "size": 10**9}]}, "its layer has 1,000,000,000 bytes"),
        ({"layers": [{"digest": DIGEST, "size": -1}]}, "its layer has -1 bytes"),
        ({"layers": [{"digest": DIGEST, "size": "1"}]}, "its manifest cannot be read: Expected `int`"),
    ],
)
def test_an_image_that_is_no_bundle_is_refused(registry: Registry, manifest: dict[str, object], message: str) -> None:
    """With what is wrong with it."""
    registry.push(FIRST, **manifest)
    with pytest.raises(Refused, match=message) as refused:
        asyncio.run(source(registry).fetch(None))
    assert refused.value.code == "oci_unusable_manifest"


@pytest.mark.parametrize("what", ["manifests", "blobs"])
def test_what_has_another_digest_is_not_taken(registry: Registry, what: str) -> None:
    """Whoever sent it; it is asked for again."""
    registry.push(FIRST)
    for path in [*registry.answers]:
        if f"/{what}/sha256:" in path:
            registry.answers[path] = answer(b"{}" + b" " * 100)
    with pytest.raises(FetchFailed, match=f"^{registry.host}: what came has not the digest sha256:"):
        asyncio.run(source(registry).fetch(None))


def test_a_blob_may_be_elsewhere(registry: Registry) -> None:
    """As at most registries, which keep them in an object store: it is not shown what the registry is."""
    content = bundle_of(FIRST)
    registry.wants, registry.challenge = "Bearer t", f'Bearer realm="{registry.url}/token",service="here"'
    registry.gives_tokens("t")
    registry.push_layer(content)
    with file_server() as store:
        store.answers["/blob"] = answer(content)
        for path in [*registry.answers]:
            if "/blobs/" in path:
                registry.answers[path] = answer(b"", 307, location=f"{store.url}/blob?signature=s")
        found = asyncio.run(source(registry).fetch(None))
        assert found is not None
        assert ["authorization" in headers for _, _, headers in store.asked] == [False]


@pytest.mark.parametrize("name", ["token", "access_token"])
@pytest.mark.parametrize("known", [True, False])
def test_a_token_is_fetched_and_used_until_it_is_refused(
    registry: Registry, password: Path, name: str, known: bool
) -> None:
    """With the password, or without one where everybody may read."""
    registry.push(FIRST)
    bundle = source(registry, password if known else None)
    for token in ("one", "two"):
        registry.wants = f"Bearer {token}"
        registry.challenge = f'Bearer realm="{registry.url}/token",service="here",scope="repository:other:push"'
        registry.gives_tokens(token, name=name)
        assert asyncio.run(bundle.fetch(None)) is not None
    asked = ["HEAD manifest", "GET /token", "HEAD manifest", "GET manifest", "GET blob"]
    assert registry.methods() == asked * 2
    shown = [headers.get("authorization") for _, path, headers in registry.asked if path.startswith("/token")]
    assert shown == [BASIC if known else None] * 2


def test_a_password_is_shown_where_the_registry_asks_for_it(registry: Registry, password: Path) -> None:
    """Not before."""
    registry.push(FIRST)
    registry.wants, registry.challenge = BASIC, 'Basic realm="here"'
    assert asyncio.run(source(registry, password).fetch(None)) is not None
    assert [headers.get("authorization") for _, _, headers in registry.asked] == [None, BASIC, BASIC, BASIC]


@pytest.mark.parametrize(
    ("challenge", "message"),
    [
        ("", "it asks for credentials, and there are none that it takes"),
        ("Negotiate abc", "it asks for credentials, and there are none that it takes"),
        ('Basic realm="here"', "it asks for credentials, and there are none that it takes"),
        (
            'Bearer realm="file:///etc/passwd"',
            "it asks for a token, and it leads to what is no URL that may be fetched",
        ),
        ('Bearer realm="https://a.example/"', "it asks for a token, and it leads from http to https"),
        ('Bearer realm="/token?a=b",service="here"', "it asks for a token at a URL with a query"),
        ('Bearer realm="/nowhere",service="here"', "no token is given, the answer has status 404"),
        ('Bearer realm="/empty",service="here"', "no token is given, or none that could be shown"),
        ('Bearer realm="/broken",service="here"', "no token is given, or none that could be shown"),
        ('Bearer realm="/split",service="here"', "no token is given, or none that could be shown"),
        ('Bearer realm="/wrong",service="here"', "the credentials are not taken"),
    ],
)
def test_a_challenge_that_leads_nowhere_is_told(registry: Registry, challenge: str, message: str) -> None:
    """The registry is asked twice at most."""
    registry.push(FIRST)
    registry.wants, registry.challenge = "Bearer t", challenge
    registry.answers |= {"/empty": answer(b"{}"), "/broken": answer(b"[")}
    registry.gives_tokens("a\nb", "/split")
    registry.gives_tokens("u", "/wrong")
    with pytest.raises(FetchFailed, match=message):
        asyncio.run(source(registry).fetch(None))
    assert registry.methods().count("HEAD manifest") <= 2


def test_the_password_goes_where_the_operator_says(registry: Registry, password: Path) -> None:
    """SRC-07: to the registry, to another host that is named, and to no other that the registry names."""
    registry.push(FIRST)
    with registry_server() as other:
        registry.wants, registry.challenge = "Bearer t", f'Bearer realm="{other.url}/token",service="here"'
        other.gives_tokens("t")
        with pytest.raises(
            FetchFailed, match=f"it sends us to {other.host} for a token; write `token_host: {other.host}`"
        ):
            asyncio.run(source(registry, password).fetch(None))
        assert other.asked == []
        assert asyncio.run(source(registry).fetch(None)) is not None
        assert asyncio.run(source(registry, password, other.host).fetch(None)) is not None
        assert [headers.get("authorization") for _, _, headers in other.asked] == [None, BASIC]


@pytest.mark.parametrize(
    ("text", "url", "reference"),
    [
        ("registry.example/a:b", "https://registry.example", "b"),
        ("registry.example:5000/a/b_c/d-e:v1.2", "https://registry.example:5000", "v1.2"),
        ("localhost:5000/a:b", "http://localhost:5000", "b"),
        ("127.0.0.1:5000/a:b", "http://127.0.0.1:5000", "b"),
        (f"registry.example/a@{DIGEST}", "https://registry.example", DIGEST),
        (f"registry.example/a:b@{DIGEST}", "https://registry.example", DIGEST),
    ],
)
def test_references_are_read(text: str, url: str, reference: str) -> None:
    """In the clear on this machine alone."""
    image = parse_image(text)
    assert (image.url, image.reference, image.pinned) == (url, reference, reference == DIGEST)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "a:b", "library/a:b", "registry.example/a", "registry.example/A:b", "registry.example/../a:b"),
        *("registry.example/a:-b", "registry.example/a@sha256:00", "https://registry.example/a:b", "u:p@r.example/a:b"),
        *("registry.example/a:b?c", "registry.example/a:b#c", "registry.example:x/a:b", "-registry /a:b"),
        "registry.example/" + "a" * 600 + ":b",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """A tag is never guessed."""
    with pytest.raises(InvalidValue):
        parse_image(text)


def test_what_is_not_there_is_told(registry: Registry) -> None:
    """In words."""
    with pytest.raises(FetchFailed, match=f"^{registry.host}: there is no such image$"):
        asyncio.run(source(registry).fetch(None))
    assert registry.asked[0][1] == f"/v2/{REPOSITORY}/manifests/stable"
