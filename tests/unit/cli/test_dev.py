"""`authz dev` makes identities, and says that they are for development only."""

import stat
from datetime import timedelta
from pathlib import Path

import jwt
import msgspec
import pytest
from cryptography import x509
from typer.testing import CliRunner, Result

from authz_server.cli import app

WEB = "spiffe://shop.example/ns/front/sa/web"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    """Run `authz dev`."""
    return CliRunner().invoke(app, ["dev", *arguments])


def claims(token: str) -> dict[str, object]:
    """What a token says, if the development keys verify it."""
    [key] = jwt.PyJWKSet.from_dict(msgspec.json.decode(run("keys").stdout)).keys
    return jwt.decode(token, key, ["ES256"], options={"verify_exp": False, "verify_aud": False})


@pytest.mark.parametrize("arguments", [("ca",), ("keys",), ("token", "--subject", "ann")])
def test_every_command_says_that_it_is_for_development(arguments: tuple[str, ...]) -> None:
    """On standard error, so that what is printed can be used."""
    run("keys")
    assert "FOR DEVELOPMENT ONLY" in run(*arguments).stderr


def test_wrong_usage_is_not_warned_about() -> None:
    """The error is not to be looked for behind a warning."""
    run("keys")
    assert run("token", "--subject", "ann").stderr.count("FOR DEVELOPMENT ONLY") == 1
    assert "FOR DEVELOPMENT ONLY" not in run("token", "--subject", "ann", "--lifetime", "5").stderr
    assert "FOR DEVELOPMENT ONLY" not in run("ca", "web").stderr


def test_a_ca_is_made_once_and_signs_on() -> None:
    """A second call uses the CA of the first."""
    assert run("ca", f"web={WEB}").exit_code == 0
    authority = Path("certs/ca.pem").read_bytes()
    assert run("ca", f"again={WEB}").exit_code == 0
    assert Path("certs/ca.pem").read_bytes() == authority
    for name in ("web", "again"):
        leaf = x509.load_pem_x509_certificate(Path(f"certs/{name}.pem").read_bytes())
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
        assert stat.S_IMODE(Path(f"certs/{name}.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("file", "arguments"), [("ca.pem", ("ca",)), ("issuer.key", ("keys",)), ("issuer.key", ("token", "--subject", "a"))]
)
def test_a_file_that_is_something_else_is_named(file: str, arguments: tuple[str, ...]) -> None:
    """It is not overwritten, and the error says what to do."""
    run("ca")
    Path("certs", file).write_text("something else")
    result = run(*arguments)
    assert result.exit_code == 2
    assert file in result.output
    assert "remove" not in result.output
    assert Path("certs", file).read_text() == "something else"


def test_a_ca_that_is_about_to_expire_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would issue could not outlive it."""
    with monkeypatch.context() as shorter:
        shorter.setattr("authz_server.dev.ca.CA_LIFETIME", timedelta(minutes=30))
        run("ca")
    authority = Path("certs/ca.pem").read_bytes()
    run("ca")
    assert Path("certs/ca.pem").read_bytes() != authority


def test_envoy_gets_its_secrets() -> None:
    """The two files that Envoy watches."""
    result = run("ca", "--envoy", "spiffe://shop.example/envoy/edge", "--dns", "*.shop.example")
    assert result.exit_code == 0
    assert sorted(path.name for path in Path("certs/envoy").iterdir()) == ["bundles.yaml", "certificate.yaml"]


def test_a_token_says_what_was_asked() -> None:
    """Scopes are one text; a claim's value is JSON where it can be read so."""
    run("keys")
    asked = ["--scope", "a", "--scope", "b", "--group", "support", "--claim", "customer=c7", "--claim", "level=3"]
    said = claims(run("token", "--subject", "ann", "--lifetime", "10m", *asked).stdout.strip())
    assert said["sub"] == "ann"
    assert said["scope"] == "a b"
    assert (said["groups"], said["customer"], said["level"]) == (["support"], "c7", 3)


def test_a_token_can_be_old() -> None:
    """`--age` longer than the lifetime makes it expired."""
    run("keys")
    now = claims(run("token", "--subject", "ann").stdout.strip())
    old = claims(run("token", "--subject", "ann", "--age", "1h").stdout.strip())
    difference = int(str(now["exp"])) - int(str(old["exp"]))
    assert abs(difference - timedelta(hours=1).total_seconds()) < 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ca", "web"), "web=spiffe://shop.example/ns/front/sa/web"),
        (("ca", "web=https://shop.example"), "is no SPIFFE ID"),
        (("ca", "../web=spiffe://shop.example/web"), "NAME=SPIFFE_ID"),
        (("token", "--subject", "ann"), "authz dev keys"),
        (("token", "--subject", "ann", "--lifetime", "5"), "--lifetime"),
        (("token", "--subject", "ann", "--claim", "customer"), "--claim"),
        (("token", "--subject", "ann", "--key", "."), ". cannot be read"),
        (("keys", "--key", "file/issuer.key"), "file/issuer.key cannot be"),
        (("ca", "--directory", "file"), "file cannot be used"),
        (("demo", "--port", "80"), "--port"),
        (("demo",), "--policies: there is no directory policies"),
        (("demo", "--policies", ".", "--envoy", "none"), "--envoy: none is no file"),
    ],
)
def test_wrong_usage_says_what_to_write(arguments: tuple[str, ...], message: str) -> None:
    """Exit code 2, and a sentence that helps, alone where nothing was signed."""
    Path("file").touch()
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
