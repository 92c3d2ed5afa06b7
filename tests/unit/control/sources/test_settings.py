"""Sources of policies in the configuration."""

from pathlib import Path

import pytest

from authz_server.control.settings import LoadedSettings, load_settings
from authz_server.control.settings_check import check_files
from authz_server.dev.ca import create_ca
from tests.unit.control.sources.bundles import write_public_key

HTTP = "{url: 'https://a.example/b', keys: [good.pub]}"
IMAGE = "image: 'registry.example/a:b', keys: [good.pub]"


def load(directory: Path, policies: str) -> LoadedSettings:
    """A configuration with this section, beside files to name."""
    write_public_key(directory / "good.pub")
    (directory / "bad.pub").write_text("no key")
    (directory / "empty").write_text("\n")
    (directory / "secret").write_text("s\n")
    (directory / "ca.pem").write_text(create_ca("shop.example").bundle_pem)
    (directory / "authz.yaml").write_text(f"policies: {policies}\n")
    return load_settings(directory / "authz.yaml", {})


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ("{source: {}}", "`source` takes exactly one of `http`, `oci` and `git`"),
        (f"{{source: {{http: {HTTP}, oci: {{{IMAGE}}}}}}}", "`source` takes exactly one of `http`, `oci` and `git`"),
        (f"{{directory: a, source: {{http: {HTTP}}}}}", "policies come from `source`"),
        ("{source: {http: {url: 'http://a.example/b', keys: [good.pub]}}}", "`http:` is for loopback only"),
        ("{source: {http: {url: 'https://a.example/b', keys: []}}}", "`keys` must not be empty"),
        ("{source: {http: {url: 'https://a.example/b'}}}", "`http` needs `keys`"),
        (f"{{source: {{oci: {{{IMAGE}, username: ann}}}}}}", "`username` and `password_file` stand together"),
        ("{source: {git: {url: 'https://a.example/b', password_file: p}}}", "`username` and `password_file` stand"),
        ("{source: {git: {url: 'ssh://a.example/b'}}}", "SSH needs `ssh_key_file` and `known_hosts_file`"),
        ("{source: {git: {url: 'git@a.example:b.git'}}}", "named by an `https://` or `ssh://` URL"),
        (f"{{source: {{http: {HTTP}, poll: 10ms}}}}", "a duration from 1s to 1d"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, policies: str, message: str) -> None:
    """Where it stands."""
    loaded = load(tmp_path, policies)
    assert loaded.settings is None
    assert message in "\n".join(f"{problem.message}" for problem in loaded.problems)


@pytest.mark.parametrize(
    ("policies", "told"),
    [
        (f"{{source: {{http: {HTTP}}}}}", ""),
        ("{source: {http: {url: 'https://a.example/b', keys: [good.pub, bad.pub]}}}", "no public Ed25519 key in PEM"),
        ("{source: {http: {url: 'https://a.example/b', keys: [none.pub]}}}", "none.pub cannot be read: No such file"),
        ("{source: {http: {url: 'https://a.example/b', keys: [good.pub], token_file: empty}}}", "empty is empty"),
        ("{source: {http: {url: 'https://a.example/b', keys: [good.pub], ca_file: empty}}}", "holds no certificates"),
        (f"{{source: {{oci: {{{IMAGE}, username: a, password_file: none}}}}}}", "none cannot be read: No such file"),
        (f"{{source: {{oci: {{{IMAGE}, username: a, password_file: secret, ca_file: ca.pem}}}}}}", ""),
        ("{source: {git: {url: 'ssh://a/b', ssh_key_file: none, known_hosts_file: secret}}}", "none cannot be read"),
    ],
)
def test_files_that_it_names_must_be_good(tmp_path: Path, policies: str, told: str) -> None:
    """`authz validate --config` says so."""
    loaded = load(tmp_path, policies)
    assert loaded.settings is not None, loaded.problems
    problems = [problem.message for problem in check_files(loaded)]
    assert len(problems) == bool(told)
    assert told in "".join(problems)


def test_policies_are_read_where_they_are_fetched(tmp_path: Path) -> None:
    """Each source has a directory of its own, whatever keys and times it has."""
    found = []
    for policies in (
        f"{{source: {{http: {HTTP}}}}}",
        f"{{source: {{http: {HTTP}, poll: 1m}}}}",
        "{source: {http: {url: 'https://a.example/c', keys: [good.pub]}}}",
        f"{{source: {{oci: {{{IMAGE}}}}}}}",
        "{source: {git: {url: 'https://a.example/b'}}}",
        "{source: {git: {url: 'https://a.example/b', ref: next}}}",
    ):
        settings = load(tmp_path, policies).settings
        assert settings is not None
        found.append(settings.policy_directory)
    assert found[0] == found[1]
    assert len(set(found)) == 5
    assert all(directory.is_relative_to(tmp_path / "run" / "fetched") for directory in found)
