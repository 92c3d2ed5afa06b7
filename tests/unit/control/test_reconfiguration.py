"""A configuration that changes while the server runs."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from authz_server.control.reconfiguration import taken_up
from authz_server.control.settings import Settings
from authz_server.dev.waiting import wait_until
from authz_server.errors import GrpcCode
from tests.unit.control.server_process import PATIENCE_S, Served


def settings_of(**sections: object) -> Settings:
    """Settings with these sections."""
    return Settings.model_validate(sections, context={"base": Path("/")})


def test_what_workers_alone_use_is_taken_up() -> None:
    """Nothing of it takes a restart."""
    changed = settings_of(
        bodies={"max": "4KiB"},
        answers={"failures": "error"},
        audit={"secrets": ["request.headers[x-secret]"]},
        clients={"proxies": ["10.0.0.0/8"]},
        identity_headers=["x-user"],
        log={"level": "debug"},
    )
    assert taken_up(settings_of(), changed) == (changed, [])


def test_anything_else_is_named() -> None:
    """And what can be taken up is taken up all the same."""
    changed = settings_of(workers=3, admin={"listen": "127.0.0.1:1"}, bodies={"max": "4KiB"})
    assert taken_up(settings_of(), changed) == (settings_of(bodies={"max": "4KiB"}), ["workers", "admin"])


@pytest.fixture(name="served", scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("served"))
    served.prepare()
    with served.running():
        yield served


def test_sighup_replaces_the_workers_by_such_with_the_changed_configuration(served: Served) -> None:
    """And names what has to wait for a restart."""
    before = served.workers()
    change(served, bodies={"max": "4KiB"}, workers=3)
    wait_until(lambda: served.events("configuration_needs_restart") != [], PATIENCE_S, "the changed configuration")
    assert served.events("configuration_needs_restart")[-1]["settings"] == ["workers"]
    assert not set(before) & set(served.workers())
    assert served.code() == {GrpcCode.OK}
    assert served.readiness()["degraded"] == ["the configuration has changed in what takes a restart: workers"]
    change(served)
    wait_until(lambda: served.readiness()["status"] == "ready", PATIENCE_S, "the configuration of before")


def test_a_bad_configuration_changes_nothing(served: Served) -> None:
    """It is told in the log, a metric and the readiness, until it is mended."""
    before, good = served.workers(), served.config.read_text()
    served.config.write_text(good + "bodys: {}\n")
    served.signal(signal.SIGHUP)
    line = len(good.splitlines()) + 1
    place = f"{served.config}:{line}:1: unknown_field"
    told = f"1 problem in the configuration ({place}); the one before is in use"
    wait_until(lambda: served.readiness()["degraded"] == [told], PATIENCE_S, "the bad configuration")
    assert "unknown field `bodys`" in served.events("configuration_refused")[-1]["problem"]
    assert "authz_configuration_problems 1.0" in served.get("/metrics").text
    assert served.workers() == before
    served.config.write_text(good)
    served.signal(signal.SIGHUP)
    wait_until(lambda: served.readiness()["status"] == "ready", PATIENCE_S, "the good one")
    assert len(served.events("configuration_mended")) == 1
    assert served.workers() == before


def test_workers_that_could_not_start_with_it_are_not_tried(served: Served) -> None:
    """What they need is looked at again, and the server goes on with those that it has."""
    before, key = served.workers(), served.directory / "run" / "hash.key"
    key.chmod(0o644)
    change(served, bodies={"max": "8KiB"})
    wait_until(lambda: served.readiness()["status"] == "degraded", PATIENCE_S, "the refusal")
    [told] = served.readiness()["degraded"]
    assert "others may use it: its mode is 0644, not 0600" in told
    assert served.workers() == before
    assert served.code() == {GrpcCode.OK}
    key.chmod(0o600)
    change(served)
    wait_until(lambda: served.readiness()["status"] == "ready", PATIENCE_S, "the configuration of before")


def change(served: Served, **sections: object) -> None:
    """Write other sections beside those that stay, and say so."""
    before = yaml.safe_load(served.config.read_text())
    kept = {name: section for name, section in before.items() if name != "bodies"} | {"workers": 2}
    served.config.write_text(yaml.safe_dump(kept | sections))
    served.signal(signal.SIGHUP)
