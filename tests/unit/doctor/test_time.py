"""Whether Envoy waits as long as an issuer that is asked may take."""

from pathlib import Path

import pytest

from tests.unit.doctor.test_examine import SETTINGS, Config, ext_authz, findings, generated


@pytest.mark.parametrize(
    ("timeout", "given", "codes"),
    [
        ("100ms", {}, []),
        ("250ms", {}, ["too_little_time"]),
        ("250ms", {"retry_policy": None}, []),
        ("500ms", {}, ["too_little_time", "too_little_time"]),
        ("500ms", {"timeout": "0.6s", "retry_policy": None}, []),
        ("100ms", {"timeout": None, "retry_policy": None}, []),
        ("200ms", {"timeout": None, "retry_policy": None}, ["too_little_time"]),
    ],
)
def test_an_issuer_that_is_asked_needs_time(timeout: str, given: Config, codes: list[str], tmp_path: Path) -> None:
    """A denial that comes too late is none to Envoy."""
    config = generated()
    service = ext_authz(config)["grpc_service"]
    service.update(given)
    for name in [name for name, value in given.items() if value is None]:
        del service[name]
    introspection = {"url": "https://x/", "client_id": "a", "client_secret_file": "s", "timeout": timeout}
    issuer = {"issuer": "https://x/", "audiences": ["a"], "introspection": introspection}
    found = findings(config, tmp_path, SETTINGS | {"issuers": {"corp": issuer}})
    assert [finding.code for finding in found] == codes
