"""The keys of upstream tokens that the server makes and keeps."""

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authz_server.control.settings import Settings
from authz_server.control.trust import Trust
from authz_server.control.upstream_keys import OwnKeys
from authz_server.identity.signing_keys import NO_SIGNING_KEYS, Rotation, parse_signing_keys, private_document, rotated
from authz_server.telemetry.control_metrics import ControlMetrics
from authz_server.worker.messages import Prepare, SigningKeys

ROTATION = Rotation(rotate_s=100.0, keep_s=10.0)
OPERATORS = private_document(rotated((), 0.0, ROTATION))


class Scene:
    """A file of keys, and a clock that a test moves."""

    def __init__(self, directory: Path) -> None:
        self.now = 1000.0
        self.path = directory / "upstream-keys.json"
        self.keys = self.restarted()

    def restarted(self) -> OwnKeys:
        """Another server with the same file."""
        self.keys = OwnKeys(self.path, ROTATION, lambda: self.now)
        return self.keys

    def kids(self) -> list[str]:
        """The names of the keys."""
        return [key.kid for key in parse_signing_keys(self.keys.content)]


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_keys_are_made_once_and_outlive_a_restart(scene: Scene) -> None:
    """For the owner's eyes alone."""
    assert scene.keys.reread()
    assert not scene.keys.reread()
    assert scene.path.stat().st_mode & 0o777 == 0o600
    kids = scene.kids()
    assert scene.restarted().reread()
    assert scene.kids() == kids


def test_a_rotation_changes_them_and_is_told_without_secrets(scene: Scene) -> None:
    """By the names of the keys alone."""
    scene.keys.reread()
    first, second = scene.kids()
    scene.now += 100
    with capture_logs() as logs:
        assert scene.keys.reread()
    assert scene.kids()[:2] == [first, second]
    assert logs == [{"event": "upstream_keys_rotated", "log_level": "info", "key": second, "next_key": scene.kids()[2]}]
    scene.now += 10
    assert scene.keys.reread()
    assert first not in scene.kids()


def test_a_key_that_cannot_be_kept_signs_nothing(scene: Scene) -> None:
    """It is said once, and tried again; what is there goes on."""
    scene.keys.reread()
    kids = scene.kids()
    scene.now += 100
    draft = scene.path.with_name(".upstream-keys.json.new")
    draft.mkdir()
    with capture_logs() as logs:
        assert not scene.keys.reread()
        assert not scene.keys.reread()
    assert scene.keys.problem is not None
    assert [line["event"] for line in logs] == ["upstream_keys_not_kept"]
    assert scene.kids() == kids
    draft.rmdir()
    assert scene.keys.reread()
    assert scene.keys.problem is None


def test_a_file_that_is_broken_is_replaced_and_told(scene: Scene) -> None:
    """Others are better than none; the log does not show what was there."""
    scene.path.write_text('{"keys": [{"d": "s3cr3t"}]}')
    with capture_logs() as logs:
        assert scene.keys.reread()
    assert len(scene.kids()) == 2
    assert "upstream_keys_lost" in [line["event"] for line in logs]
    assert "s3cr3t" not in str(logs)


def trust(directory: Path, **token: str) -> Trust:
    """All keys of a server with such tokens."""
    settings = {"upstream_token": {"issuer": "https://authz.example", **token}, "run_directory": "."}
    return Trust(
        Settings.model_validate(settings, context={"base": directory}),
        ControlMetrics(directory / "metrics"),
        lambda: None,
    )


def test_nothing_is_decided_before_there_are_keys(tmp_path: Path) -> None:
    """And nothing is published."""
    one = trust(tmp_path, key_file="keys.json")
    one.reread()
    assert (one.holds_back, one.jwks()) == (True, None)
    assert one.missing() == {"there are no keys for upstream tokens": True}
    assert one.troubled() == {"keys for upstream tokens"}
    (tmp_path / "keys.json").write_bytes(OPERATORS)
    assert one.reread()
    assert not one.holds_back
    assert (one.missing(), one.troubled()) == ({}, set())
    published = json.loads(one.jwks() or b"")["keys"]
    assert [key["kid"] for key in published] == [key.kid for key in parse_signing_keys(OPERATORS)]
    assert not any("d" in key for key in published)


@pytest.mark.parametrize("bad", [b"", b"{}", NO_SIGNING_KEYS, b'{"keys": [{}]}'])
def test_a_bad_edit_of_the_operators_keys_changes_nothing(tmp_path: Path, bad: bytes) -> None:
    """What was good signs on, and readiness says so."""
    file = tmp_path / "keys.json"
    file.write_bytes(OPERATORS)
    one = trust(tmp_path, key_file="keys.json")
    one.reread()
    file.write_bytes(bad)
    assert not one.reread()
    assert one.signing_keys() == SigningKeys(OPERATORS)
    assert (len(one.problems()), one.troubled()) == (1, {"keys for upstream tokens"})


def test_our_own_keys_are_there_at_once(tmp_path: Path) -> None:
    """They need nobody."""
    one = trust(tmp_path)
    one.reread()
    assert not one.holds_back
    assert one.problems() == []
    assert (tmp_path / "upstream-keys.json").exists()


def test_without_such_tokens_there_are_no_keys(tmp_path: Path) -> None:
    """Nothing is made, nothing is published."""
    one = Trust(
        Settings.model_validate({}, context={"base": tmp_path}), ControlMetrics(tmp_path / "metrics"), lambda: None
    )
    one.reread()
    assert (one.signing_keys(), one.jwks(), one.holds_back) == (None, None, False)


def test_a_message_to_a_worker_does_not_show_keys() -> None:
    """Whatever prints it."""
    message = Prepare(1, None, {}, {}, signing_keys=SigningKeys(OPERATORS))
    assert json.loads(OPERATORS)["keys"][0]["d"] not in repr(message)
