"""From the settings to a source."""

from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from authz_server.control.errors import CannotStart
from authz_server.control.fetch_schedule import FetchSchedule
from authz_server.control.kept_policies import KeptPolicies
from authz_server.control.settings import Settings
from authz_server.control.settings.images import parse_image
from authz_server.control.settings.sources import GitSourceSettings, HttpSourceSettings, SourceKind
from authz_server.control.sources.fetcher import Fetcher
from authz_server.control.sources.git_program import Access
from authz_server.control.sources.git_tree import GitTree
from authz_server.control.sources.http_bundle import HttpBundle
from authz_server.control.sources.oci_bundle import OciBundle
from authz_server.control.sources.oci_login import Login
from authz_server.control.sources.source import Source
from authz_server.control.sources.store import FetchedPolicies, NotRestored, NotTrusted
from authz_server.control.sources.web import Web
from authz_server.control.trust_files import read_trust_file
from authz_server.policy.bundle import key_id, parse_public_key
from authz_server.telemetry.control_metrics import ControlMetrics


def fetcher_of(
    settings: Settings, metrics: ControlMetrics, last_good: KeptPolicies | None, on_change: Callable[[], None]
) -> Fetcher | None:
    """What fetches the policies; None where they are in a directory. Blocks. Raises CannotStart, OSError.

    Where what is kept may not be used any more, `last_good` goes as well.
    """
    source = settings.policies.source
    if source is None:
        return None
    kind = source.kind
    keys = read_keys(kind.keys)
    store = FetchedPolicies(source.directory(settings.run_directory), kind.place)
    try:
        store.restore({key_id(key) for key in keys} if keys else None)
    except NotRestored as error:
        structlog.get_logger().error("fetched_policies_dropped", place=kind.place, problem=str(error))
        # What decided before was signed like that as well, perhaps.
        if last_good is not None and isinstance(error, NotTrusted):
            last_good.remove()
    return Fetcher(
        _source(kind, keys, store.directory, source.timeout),
        store,
        kind.place,
        FetchSchedule(refresh_s=source.poll, max_age_s=inf),
        metrics,
        on_change,
        accept_older=source.accept_older,
    )


def _source(kind: SourceKind, keys: Sequence[Ed25519PublicKey], directory: Path, timeout_s: float) -> Source:
    if isinstance(kind, GitSourceSettings):
        secrets = (kind.username, kind.password_file, kind.ssh_key_file, kind.known_hosts_file, kind.ca_file)
        return GitTree(Access(kind.url, *secrets), kind.ref, kind.path, directory, timeout_s)
    web = Web(timeout_s, kind.ca_file)
    if isinstance(kind, HttpSourceSettings):
        return HttpBundle(web, kind.url, keys, kind.token_file)
    image = parse_image(kind.image)
    return OciBundle(web, image, keys, Login(web, image, kind.username, kind.password_file, kind.token_host))


def read_keys(files: Sequence[Path]) -> list[Ed25519PublicKey]:
    """The public keys in files. Blocks. Raises CannotStart."""
    keys = []
    for file in files:
        try:
            keys.append(parse_public_key(read_trust_file(file)))
        except OSError as error:
            raise CannotStart(f"policies.source: {file} cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise CannotStart(f"policies.source: {file}: {error}") from None
    return keys
