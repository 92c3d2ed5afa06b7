"""Keeping short-lived identities alive: each is issued anew at half its life, into the files that others watch."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

from msgspec import Struct

from authz_server.dev.ca import SVID_LIFETIME, DevelopmentCa, Svid
from authz_server.dev.files import write_file, write_secret
from authz_server.envoy.config_secrets import certificate_secret

# The clock is looked at this often, because a machine that slept was late without noticing.
LOOK_S = 5.0


class Holder(Struct, frozen=True):
    """Somebody with an identity, and how a fresh one gets to them."""

    spiffe_id: str
    deliver: Callable[[Svid], None]
    dns_names: tuple[str, ...] = ()


def renew(ca: DevelopmentCa, holders: Sequence[Holder], lifetime: timedelta = SVID_LIFETIME) -> datetime:
    """Give every holder a fresh identity; returns when to do so again."""
    now = datetime.now(UTC)
    for holder in holders:
        holder.deliver(ca.issue(holder.spiffe_id, dns_names=holder.dns_names, lifetime=lifetime, start=now))
    return now + lifetime / 2


def keep_renewed(
    ca: DevelopmentCa, holders: Sequence[Holder], due: datetime, stop: Event, lifetime: timedelta = SVID_LIFETIME
) -> None:
    """Renew at `due` and from then on at half of each life, until `stop` is set."""
    while not stop.wait(min(LOOK_S, max(0.0, (due - datetime.now(UTC)).total_seconds()))):
        if datetime.now(UTC) >= due:
            due = renew(ca, holders, lifetime)


def to_pem_files(directory: Path, name: str) -> Callable[[Svid], None]:
    """Deliver to `<name>.pem` and `<name>.key`."""

    def deliver(svid: Svid) -> None:
        write_secret(directory / f"{name}.key", svid.key_pem)
        write_file(directory / f"{name}.pem", svid.certificate_pem)

    return deliver


def to_envoy(directory: Path) -> Callable[[Svid], None]:
    """Deliver to the secret file that Envoy watches; certificate and key change in one step."""

    def deliver(svid: Svid) -> None:
        write_secret(directory / "certificate.yaml", certificate_secret(svid.certificate_pem, svid.key_pem))

    return deliver
