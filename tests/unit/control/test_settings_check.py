"""What the configuration names must be there, and be what it should be."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.control.settings import load_settings
from authz_server.control.settings_check import check_files
from authz_server.dev.ca import create_ca
from authz_server.dev.issuer import create_issuer
from authz_server.identity.signing_keys import Rotation, private_document, rotated

ISSUER = "issuers: {corp: {issuer: 'https://login.example/', audiences: [shop], keys: {file: %s}}}"
DOMAIN = "workloads: {trust_domains: {shop.example: {bundle: %s}}}"
ASKED = (
    "issuers: {corp: {issuer: 'https://login.example/', audiences: [shop], keys: {none: true},"
    " introspection: {url: 'https://login.example/', client_id: a, client_secret_file: %s}}}"
)
TOKEN = "upstream_token: {issuer: a, key_file: %s}"
TLS = "tls: {certificate: %s, key: %s}"
MTLS = "tls: {certificate: server.pem, key: server.key, client_ca: %s, clients: ['spiffe://a/b']}"


@pytest.fixture(name="directory", scope="module")
def _directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad files by their names."""
    directory = tmp_path_factory.mktemp("files")
    ca = create_ca("shop.example")
    server, other = ca.issue("spiffe://shop.example/authz"), ca.issue("spiffe://shop.example/other")
    jwks = create_issuer().jwks()
    symmetric = {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}
    files = {
        "ca.pem": ca.bundle_pem,
        "server.pem": server.certificate_pem,
        "server.key": server.key_pem,
        "other.key": other.key_pem,
        "both.pem": ca.bundle_pem + server.key_pem,
        "jwks.json": json.dumps(jwks),
        "symmetric.json": json.dumps(symmetric),
        "signing.json": private_document(rotated((), 0.0, Rotation(60.0, 60.0))).decode(),
        "garbage": "garbage",
        "empty": "",
    }
    (directory / "directory").mkdir()
    for name, content in files.items():
        (directory / name).write_text(content)
    return directory


def complaints(directory: Path, text: str) -> list[str]:
    """Each problem as place, message and hint, without the directory."""
    file = directory / "authz.yaml"
    file.write_text(text)
    loaded = load_settings(file, {})
    assert loaded.problems == []
    problems = check_files(loaded)
    shown = [f"{p.position.line}:{p.position.column} {p.message} | {p.hint}" for p in problems]
    return [line.replace(f"{directory}/", "") for line in shown]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ASKED % "garbage",
        ISSUER % "jwks.json",
        TOKEN % "signing.json",
        DOMAIN % "ca.pem",
        TLS % ("server.pem", "server.key"),
        MTLS % "ca.pem",
    ],
)
def test_files_that_can_be_used_have_no_problems(directory: Path, text: str) -> None:
    """Nothing is said of them."""
    assert complaints(directory, text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ASKED % "none", "1:172 none cannot be read: No such file or directory | "),
        (ASKED % "empty", "1:172 empty is empty | write the client's secret, and nothing else"),
        (ISSUER % "none", "1:84 none cannot be read: No such file or directory | "),
        (ISSUER % "garbage", "1:84 garbage: the key set cannot be read: not JSON | write a JSON Web Key Set"),
        (ISSUER % "empty", "1:84 empty: the key set cannot be read: not JSON | write a JSON Web Key Set"),
        (ISSUER % "server.key", "1:84 server.key: the key set cannot be read: not JSON | write a JSON Web Key Set"),
        (
            ISSUER % "symmetric.json",
            "1:84 symmetric.json holds no key that can be used | "
            "key 1 is left out: it is private or symmetric, and no longer a secret",
        ),
        (TOKEN % "none", "1:39 none cannot be read: No such file or directory | "),
        (TOKEN % "garbage", "1:39 garbage: it is not JSON | write a JWK Set of private keys"),
        (
            TOKEN % "jwks.json",
            "1:39 jwks.json: key 1 is no private key of the curve P-256 | write a JWK Set of private keys",
        ),
        (DOMAIN % "none", "1:52 none cannot be read: No such file or directory | "),
        (DOMAIN % "directory", "1:52 directory cannot be read: Is a directory | "),
        (DOMAIN % "empty", "1:52 empty is empty | write the authorities' certificates as PEM"),
        (
            DOMAIN % "garbage",
            "1:52 garbage: the bundle has something other than whole PEM blocks of type CERTIFICATE | ",
        ),
        (
            DOMAIN % "both.pem",
            "1:52 both.pem holds a private key | a bundle has the authorities' certificates alone",
        ),
        (
            DOMAIN % "server.pem",
            "1:52 server.pem: certificate 1 of the bundle is not a CA's: it needs cA and keyCertSign | ",
        ),
        (TLS % ("none", "server.key"), "1:20 none cannot be read: No such file or directory | "),
        (TLS % ("server.pem", "none"), "1:37 none cannot be read: No such file or directory | "),
        (
            TLS % ("garbage", "server.key"),
            "1:20 garbage holds no certificate | write the chain as PEM, the server's first",
        ),
        (TLS % ("empty", "server.key"), "1:20 empty holds no certificate | write the chain as PEM, the server's first"),
        (TLS % ("server.pem", "garbage"), "1:37 garbage holds no private key | write it as PEM"),
        (TLS % ("server.pem", "other.key"), "1:37 other.key is not the key of the certificate in server.pem | "),
        (MTLS % "none", "1:60 none cannot be read: No such file or directory | "),
        (MTLS % "garbage", "1:60 garbage holds no certificates | write the authorities as PEM"),
        (
            "listen: {socket: {group: no-such-group}}",
            "1:26 there is no group `no-such-group` on this machine | ",
        ),
    ],
)
def test_what_cannot_be_used_is_explained_at_its_key(directory: Path, text: str, expected: str) -> None:
    """With the path, what is wrong, and what to write."""
    assert complaints(directory, text) == [expected]


def test_an_encrypted_key_is_explained(directory: Path) -> None:
    """Nobody is there to enter a pass phrase."""
    key = load_pem_private_key((directory / "server.key").read_bytes(), password=None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (directory / "encrypted.key").write_bytes(pem)
    [complaint] = complaints(directory, TLS % ("server.pem", "encrypted.key"))
    assert complaint.startswith("1:37 encrypted.key cannot be used: ")
    assert complaint.endswith("| write a key without a pass phrase as PEM")


def test_all_that_cannot_be_used_is_told_at_once(directory: Path) -> None:
    """In the order of the file; both files of a pair that are missing are named."""
    text = "\n".join([DOMAIN % "none", ISSUER % "none", TLS % ("none", "no-key")])
    assert [complaint.split(" ")[0] for complaint in complaints(directory, text)] == ["1:52", "2:84", "3:20", "3:31"]


def test_a_bad_configuration_names_no_files(directory: Path) -> None:
    """Its own problems come first."""
    (directory / "authz.yaml").write_text("wrokers: 2\n" + DOMAIN % "none")
    assert check_files(load_settings(directory / "authz.yaml", {})) == []


def test_a_file_that_the_environment_names_is_found_there(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is its place."""
    monkeypatch.chdir(directory)
    (directory / "authz.yaml").write_text(DOMAIN % "ca.pem")
    environment = {"AUTHZ_WORKLOADS__TRUST_DOMAINS": '{"shop.example": {"bundle": "none.pem"}}'}
    loaded = load_settings(directory / "authz.yaml", environment)
    [problem] = check_files(loaded)
    assert problem.position.file == "AUTHZ_WORKLOADS__TRUST_DOMAINS"


def test_validating_a_configuration_looks_at_its_files(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`authz validate` shows the path in the configuration that names what is not there."""
    monkeypatch.chdir(directory)
    (directory / "authz.yaml").write_text(DOMAIN % "none.pem")
    result = CliRunner().invoke(app, ["validate", "--config", "authz.yaml"])
    assert result.exit_code == 1
    assert f"authz.yaml:1:52: {directory}/none.pem cannot be read: No such file or directory" in result.stderr
