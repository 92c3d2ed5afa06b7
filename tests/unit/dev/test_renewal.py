"""Certificates are renewed at half their life, into files that are whole at any moment."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import yaml

from authz_server.dev.ca import Svid, create_ca
from authz_server.dev.files import write_file
from authz_server.dev.renewal import Holder, keep_renewed, renew, to_envoy, to_pem_files
from authz_server.dev.waiting import wait_until

WEB = "spiffe://shop.example/ns/front/sa/web"


def test_renewal_is_due_at_half_the_life() -> None:
    """An hour's certificate is replaced after half an hour."""
    delivered: list[Svid] = []
    due = renew(create_ca("shop.example"), [Holder(WEB, delivered.append)], timedelta(hours=1))
    [svid] = delivered
    half = svid.not_after - timedelta(minutes=30)
    assert abs(due - half) < timedelta(seconds=2)


def test_everybody_is_renewed_when_it_is_due() -> None:
    """The loop delivers as soon as the time has come, and ends when told."""
    delivered: list[Svid] = []
    stop = Event()
    overdue = datetime.now(UTC) - timedelta(seconds=1)
    holders = [Holder(WEB, delivered.append)]
    thread = Thread(target=keep_renewed, args=(create_ca("shop.example"), holders, overdue, stop))
    thread.start()
    try:
        wait_until(lambda: bool(delivered), 10, "the renewal")
    finally:
        stop.set()
        thread.join()
    assert len(delivered) == 1


def test_what_is_not_due_is_left_alone() -> None:
    """A loop that is stopped before the time has delivered nothing."""
    delivered: list[Svid] = []
    stop = Event()
    stop.set()
    keep_renewed(create_ca("shop.example"), [Holder(WEB, delivered.append)], datetime.now(UTC), stop)
    assert delivered == []


def test_certificate_and_key_are_delivered_as_pem(tmp_path: Path) -> None:
    """The key is for its owner alone."""
    svid = create_ca("shop.example").issue(WEB)
    to_pem_files(tmp_path, "web")(svid)
    assert (tmp_path / "web.pem").read_text() == svid.certificate_pem
    assert (tmp_path / "web.key").read_text() == svid.key_pem
    assert stat.S_IMODE((tmp_path / "web.key").stat().st_mode) == 0o600


def test_envoy_gets_certificate_and_key_in_one_file(tmp_path: Path) -> None:
    """Both change in one step; nobody else reads the key."""
    svid = create_ca("shop.example").issue(WEB)
    to_envoy(tmp_path)(svid)
    [secret] = yaml.safe_load((tmp_path / "certificate.yaml").read_text())["resources"]
    assert secret["name"] == "certificate"
    assert secret["tls_certificate"] == {
        "certificate_chain": {"inline_string": svid.certificate_pem},
        "private_key": {"inline_string": svid.key_pem},
    }
    assert stat.S_IMODE((tmp_path / "certificate.yaml").stat().st_mode) == 0o600


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A reader has the old file or the new one, and no draft stays behind."""
    path = tmp_path / "deep" / "file"
    write_file(path, "old")
    with path.open() as reader:
        write_file(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]
