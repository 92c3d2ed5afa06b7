"""`authz bundle`."""

import gzip
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from authz_server.policy.loader import load_policies

POLICIES = Path(__file__).parents[3] / "policies"
BUNDLE = Path("policies.tar.gz")


@pytest.fixture(autouse=True)
def _with_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(POLICIES, "policies")
    assert bundle("keys", "bundle.key", "bundle.pub").exit_code == 0
    assert bundle("keys", "other.key", "other.pub").exit_code == 0


def bundle(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["bundle", *arguments])


def build(*options: str) -> Result:
    """Build the bundle of the policies."""
    return bundle("build", "policies", "--output", str(BUNDLE), *options)


def test_from_a_directory_to_a_directory() -> None:
    """Built, signed, verified and unpacked, the policies have the same revision."""
    revision = load_policies(Path("policies")).revision
    built = build()
    assert built.stdout == f"policies.tar.gz: 8 files, revision {revision}, not signed\n"
    assert bundle("sign", str(BUNDLE), "--key", "bundle.key").exit_code == 0
    verified = bundle("verify", str(BUNDLE), "--key", "other.pub", "--key", "bundle.pub", "--output", "unpacked")
    assert verified.exit_code == 0, verified.output
    assert f"8 files, revision {revision}, signed by " in verified.stdout
    assert verified.stdout.endswith(", unpacked into unpacked\n")
    assert load_policies(Path("unpacked")).revision == revision
    again = bundle("verify", str(BUNDLE), "--key", "bundle.pub", "--output", "unpacked")
    assert (again.exit_code, again.stderr) == (1, "authz: unpacked: it is there already, and nothing is overwritten\n")
    assert not [path for path in Path().iterdir() if path.name.endswith(".tmp")]


def test_it_can_be_signed_as_it_is_built() -> None:
    """With the same bytes as one after the other."""
    build("--key", "bundle.key")
    at_once = BUNDLE.read_bytes()
    build()
    bundle("sign", str(BUNDLE), "--key", "bundle.key")
    assert BUNDLE.read_bytes() == at_once


@pytest.mark.parametrize(
    ("options", "code"),
    [([], "bundle_unsigned"), (["--key", "other.key"], "bundle_unknown_key")],
    ids=["not signed", "by another key"],
)
def test_without_a_trusted_signature_it_is_refused(options: list[str], code: str) -> None:
    """And nothing is unpacked."""
    build(*options)
    refused = bundle("verify", str(BUNDLE), "--key", "bundle.pub", "--output", "unpacked")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("authz: policies.tar.gz: it is ")
    assert refused.stderr.endswith(f" ({code})\n")
    assert not Path("unpacked").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"kind: service\n", "it is not gzipped, or damaged: a bundle is a .tar.gz"),
        (gzip.compress(b"kind: service\n" * 99), "what is gzipped in it is no tar archive"),
    ],
    ids=["not compressed", "no archive"],
)
def test_what_is_no_bundle_is_told_in_our_words(content: bytes, said: str) -> None:
    """And not in those of a library."""
    BUNDLE.write_bytes(content)
    refused = bundle("verify", str(BUNDLE), "--key", "bundle.pub")
    assert (refused.exit_code, refused.stderr) == (1, f"authz: {BUNDLE}: {said} (bundle_unreadable)\n")


def test_policies_with_errors_are_not_built() -> None:
    """Their errors are shown."""
    Path("policies/bad.yaml").write_text("kind: servce\n")
    result = build()
    assert result.exit_code == 1
    assert "unknown kind `servce`" in result.stderr
    assert not BUNDLE.exists()


def test_keys_are_not_overwritten_and_private() -> None:
    """Only the owner reads the private one."""
    before = Path("bundle.key").read_bytes()
    assert Path("bundle.key").stat().st_mode & 0o777 == 0o600
    assert bundle("keys", "bundle.key", "new.pub").exit_code == 1
    assert bundle("keys", "new.key", "bundle.pub").exit_code == 1
    assert Path("bundle.key").read_bytes() == before
    assert not Path("new.pub").exists()
    assert not Path("new.key").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "policies", "--output", "b", "--key", "bundle.pub"],
        ["build", "policies", "--output", "b", "--key", "none.key"],
        ["sign", "b", "--key", "bundle.pub"],
        ["verify", "b", "--key", "bundle.key"],
        ["verify", "b", "--key", "none.pub"],
        ["verify", "b"],
    ],
    ids=" ".join,
)
def test_a_wrong_key_file_is_wrong_usage(arguments: list[str]) -> None:
    """A public key where a private one is needed, or none at all."""
    result = bundle(*arguments)
    assert result.exit_code == 2
    assert "--key" in result.stderr


@pytest.mark.parametrize("command", ["verify none.tar.gz --key bundle.pub", "sign none.tar.gz --key bundle.key"])
def test_a_bundle_that_is_not_there_is_wrong_usage(command: str) -> None:
    """Nothing was refused: 1 would say so of a bundle."""
    result = bundle(*command.split())
    assert result.exit_code == 2
    assert "Invalid value for BUNDLE: there is no file none.tar.gz" in result.stderr
