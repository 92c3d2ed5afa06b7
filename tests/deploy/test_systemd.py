"""The systemd unit agrees with the server's configuration, and lets it do no more than it must."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from authz_server.control.server import DRAIN_S
from authz_server.control.settings.load import load_settings
from authz_server.worker.address import UnixAddress
from tests.docs.markdown import ROOT

UNIT = ROOT / "deploy" / "systemd" / "authz.service"
OWN = {"StateDirectory": Path("/var/lib"), "RuntimeDirectory": Path("/run")}


def values(key: str) -> list[str]:
    """What the unit says of a key, each time."""
    pairs = [line.partition("=") for line in UNIT.read_text().splitlines() if not line.startswith("#")]
    return [value for name, _, value in pairs if name == key]


def value(key: str) -> str:
    """What the unit says of a key, once."""
    [only] = values(key)
    return only


def test_what_is_written_is_in_the_directories_of_the_unit(tmp_path: Path) -> None:
    """With a configuration that leaves all of it open; the rest of the file system is read-only."""
    environment = dict(pair.split("=", 1) for pair in values("Environment"))
    assert environment.pop("AUTHZ_CONFIG") == "/etc/authz/authz.yaml"
    (tmp_path / "authz.yaml").write_text("workers: 2\n")
    loaded = load_settings(tmp_path / "authz.yaml", environment)
    assert not loaded.problems
    assert loaded.settings is not None
    listen, audit = loaded.settings.listen, loaded.settings.audit
    assert isinstance(listen.address, UnixAddress)
    kept, in_memory = [base / value(key) for key, base in OWN.items()]
    for path in (loaded.settings.run_directory, audit.file.path):
        assert path.is_relative_to(kept)
    for path in (Path(listen.address.path), listen.endpoints_file):
        assert path.is_relative_to(in_memory)
    assert value("ProtectSystem") == "strict"


def test_it_is_ended_as_it_wants_to_be() -> None:
    """The control process alone is told, in time; a worker that is killed is not the end of the unit."""
    assert value("KillMode") == "mixed"
    assert int(value("TimeoutStopSec")) >= DRAIN_S + 3
    assert value("OOMPolicy") == "continue"
    assert value("Restart") == "always"
    assert value("ExecReload") == "/bin/kill -HUP $MAINPID"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """Every key is one that it knows."""
    program = tmp_path / "authz"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "authz.service"
    unit.write_text(UNIT.read_text().replace("/opt/authz/bin/authz", str(program)))
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    # Of other units of the machine it complains as well.
    assert [line for line in done.stderr.splitlines() if "authz.service" in line] == []
