"""All keys and trust bundles that the configuration names, wherever they come from."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from authz_server.control.api_keys import NO_API_KEYS, ApiKeys, parse_api_keys
from authz_server.control.fetch_schedule import USUAL_REFRESH_S, FetchSchedule
from authz_server.control.key_source import DiscoverySource, KeySource, UrlSource
from authz_server.control.keys import NO_KEYS, Fetched
from authz_server.control.policies import known_names
from authz_server.control.revocations import parse_revocations
from authz_server.control.settings import BundleSettings, IssuerSettings, Settings, WorkloadSettings
from authz_server.control.trust_files import TrustFile
from authz_server.control.upstream_keys import OwnKeys, signing_keys_of
from authz_server.identity.api_keys import ApiKey
from authz_server.identity.bundle import Bundle, parse_bundle
from authz_server.identity.keys import KeySet, parse_jwks
from authz_server.identity.revocations import Revocations
from authz_server.identity.signing_keys import NO_SIGNING_KEYS, parse_signing_keys, public_document
from authz_server.identity.spiffe import SCHEME
from authz_server.telemetry.control_metrics import ControlMetrics
from authz_server.worker.messages import SigningKeys

if TYPE_CHECKING:
    from authz_server.control.workload_api import WorkloadApiBundles

_NOTHING_REVOKED = b"issuers: {}"


class Trust:
    """What tokens and certificates are verified with."""

    def __init__(self, settings: Settings, metrics: ControlMetrics, on_change: Callable[[], None]) -> None:
        """`on_change` is called whenever fetched keys have changed or have become too old."""
        self._fetched: dict[str, Fetched] = {}
        self._key_files: dict[str, TrustFile] = {}
        self._bundles: dict[str, TrustFile] = {}
        self._fetched_bundles: dict[str, Fetched] = {}
        self._required = {name for name, issuer in settings.issuers.items() if issuer.required}
        for name, issuer in settings.issuers.items():
            if issuer.keys.file is not None:
                self._key_files[name] = TrustFile(issuer.keys.file, parse_jwks, NO_KEYS)
            elif not issuer.keys.none:
                self._fetched[name] = _issuer_keys(name, issuer, metrics, on_change)
        for domain, trust_domain in settings.workloads.trust_domains.items():
            if trust_domain.bundle is None:
                continue
            if trust_domain.bundle.file is not None:
                self._bundles[domain] = TrustFile(trust_domain.bundle.file, parse_bundle, b"")
            elif trust_domain.bundle.url is not None:
                url = UrlSource(trust_domain.bundle.url)
                self._fetched_bundles[domain] = _bundle(domain, url, trust_domain.bundle, metrics, on_change)
        self._workload_api = workload_api_bundles(
            settings.workloads, on_change, lambda domain, ok: metrics.bundle_fetched(domain, ok=ok)
        )
        if self._workload_api is not None:
            for domain in self._workload_api.documents:
                metrics.bundle_age(domain, partial(_age, self._workload_api, domain))
        self._revocations: TrustFile | None = None
        if settings.revocations is not None:
            known = known_names(settings)
            self._revocations = TrustFile(
                settings.revocations, lambda content: parse_revocations(content, known), _NOTHING_REVOKED
            )
        self._signing_keys = signing_keys_of(settings)
        self._api_keys: TrustFile | None = None
        if settings.api_keys is not None:
            self._api_keys = TrustFile(settings.api_keys.file, parse_api_keys, NO_API_KEYS)
        metrics.trust_problems(lambda: len(self.troubled()))

    def keys(self) -> dict[str, bytes]:
        """JWKS documents of all issuers; an empty set for one whose keys are not known."""
        fetched = {name: keys.document for name, keys in self._fetched.items()}
        return fetched | {name: file.content for name, file in self._key_files.items()}

    def bundles(self) -> dict[str, bytes]:
        """The bundles of the trust domains that have one, PEM or JSON."""
        fetched = {domain: bundle.document for domain, bundle in self._fetched_bundles.items()}
        if self._workload_api is not None:
            fetched |= self._workload_api.documents
        return fetched | {domain: file.content for domain, file in self._bundles.items()}

    def revocations(self) -> Revocations | None:
        """What is revoked; None where the configuration names no file of it."""
        parsed = None if self._revocations is None else self._revocations.parsed
        return parsed if isinstance(parsed, Revocations) else None

    def api_keys(self) -> tuple[ApiKey, ...]:
        """The API keys; none where the configuration names no file of them."""
        parsed = None if self._api_keys is None else self._api_keys.parsed
        return parsed.keys if isinstance(parsed, ApiKeys) else ()

    def signing_keys(self) -> SigningKeys | None:
        """The private keys of upstream tokens; None where there are no such tokens."""
        return None if self._signing_keys is None else SigningKeys(self._signing_keys.content)

    def jwks(self) -> bytes | None:
        """The JWK Set with which upstreams verify our tokens; None where there are none."""
        if self._signing_keys is None or self._signs_nothing:
            return None
        return public_document(parse_signing_keys(self._signing_keys.content))

    @property
    def holds_back(self) -> bool:
        """Whether nothing may be decided yet: it is not known what is revoked, or nothing can be signed."""
        return self._knows_no_revocations or self._signs_nothing

    def files(self) -> list[TrustFile]:
        """The files among all this."""
        others = [
            file for file in (self._revocations, self._api_keys, self._signing_keys) if isinstance(file, TrustFile)
        ]
        return [*self._key_files.values(), *self._bundles.values(), *others]

    def reread(self, *, tell_again: bool = False) -> bool:
        """Look at all files again; whether anything has changed. Blocks."""
        changed = [file.reread(tell_again=tell_again) for file in self._everything_kept()]
        return any(changed)

    def ask(self, issuer: str) -> None:
        """A token of this issuer, or of the trust domain `spiffe://…`, named a key that is not known."""
        domain = issuer.removeprefix(SCHEME)
        fetched = self._fetched.get(issuer) if domain == issuer else self._fetched_bundles.get(domain)
        if fetched is not None:
            fetched.ask()

    def missing(self) -> dict[str, bool]:
        """What is missing to verify with, such as `issuer corp has no keys`, and whether it is required."""
        missing = {f"issuer {name} has no keys": name in self._required for name in self._dark()}
        if self._knows_no_revocations:
            missing["it is not known what is revoked"] = True
        if self._api_keys is not None and not self._api_keys.was_good:
            missing["there are no API keys"] = False
        if self._signs_nothing:
            missing["there are no keys for upstream tokens"] = True
        return missing | {f"bundle {domain} has no certificates": False for domain in self._empty()}

    def troubled(self) -> set[str]:
        """What is unusable of issuers, bundles, revocations and API keys, or was refused as it is now."""
        troubled = {f"issuer {name}" for name in self._dark()} | {f"bundle {domain}" for domain in self._empty()}
        troubled |= {f"issuer {name}" for name, file in self._key_files.items() if file.problem is not None}
        if self._revocations is not None and (self._knows_no_revocations or self._revocations.problem is not None):
            troubled.add("revocations")
        if self._api_keys is not None and self._api_keys.problem is not None:
            troubled.add("API keys")
        if self._signing_keys is not None and (self._signs_nothing or self._signing_keys.problem is not None):
            troubled.add("keys for upstream tokens")
        return troubled | {f"bundle {domain}" for domain, file in self._bundles.items() if file.problem is not None}

    def problems(self) -> list[str]:
        """What is wrong with files whose last good content is still in use."""
        return [f"{file.path}: {file.problem}" for file in self._everything_kept() if file.problem is not None]

    async def run(self) -> None:
        """Keep fresh what is fetched, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for fetched in (*self._fetched.values(), *self._fetched_bundles.values()):
                group.create_task(fetched.run())
            if self._workload_api is not None:
                group.create_task(self._workload_api.run())

    @property
    def _knows_no_revocations(self) -> bool:
        return self._revocations is not None and not self._revocations.was_good

    @property
    def _signs_nothing(self) -> bool:
        return self._signing_keys is not None and self._signing_keys.content == NO_SIGNING_KEYS

    def _everything_kept(self) -> list[TrustFile | OwnKeys]:
        own = [self._signing_keys] if isinstance(self._signing_keys, OwnKeys) else []
        return [*self.files(), *own]

    def _dark(self) -> list[str]:
        dark = [name for name, keys in self._fetched.items() if not keys.usable]
        return dark + [n for n, f in self._key_files.items() if not (isinstance(f.parsed, KeySet) and f.parsed.keys)]

    def _empty(self) -> list[str]:
        empty = [domain for domain, bundle in self._fetched_bundles.items() if not bundle.usable]
        empty += [] if self._workload_api is None else self._workload_api.empty()
        return empty + [n for n, f in self._bundles.items() if not (isinstance(f.parsed, Bundle) and f.parsed.usable)]


def _bundle(
    domain: str, source: KeySource, settings: BundleSettings, metrics: ControlMetrics, on_change: Callable[[], None]
) -> Fetched:
    bundle = Fetched(
        domain,
        source,
        FetchSchedule(refresh_s=USUAL_REFRESH_S, max_age_s=settings.max_age),
        on_change=on_change,
        on_fetch=lambda name, ok: metrics.bundle_fetched(name, ok=ok),
        kind="bundle",
    )
    metrics.bundle_age(domain, lambda: bundle.age_s if bundle.age_s is not None else float("nan"))
    return bundle


def workload_api_bundles(
    settings: WorkloadSettings, on_change: Callable[[], None], on_news: Callable[[str, bool], None]
) -> "WorkloadApiBundles | None":
    """The bundles that come from the Workload API; None where none does."""
    address, domains = settings.workload_api, settings.trust_domains.items()
    max_ages = {name: one.bundle.max_age for name, one in domains if one.bundle is not None and one.bundle.workload_api}
    if address is None or not max_ages:
        return None
    # gRPC is loaded where there is somebody to speak it with.
    from authz_server.control.workload_api import WorkloadApiBundles

    with_keys = settings.jwt_svid is not None
    return WorkloadApiBundles(address, max_ages, with_keys=with_keys, on_change=on_change, on_news=on_news)


def _age(bundles: "WorkloadApiBundles", domain: str) -> float:
    age = bundles.age_s(domain)
    return float("nan") if age is None else age


def _issuer_keys(name: str, issuer: IssuerSettings, metrics: ControlMetrics, on_change: Callable[[], None]) -> Fetched:
    url = issuer.keys.url
    source: KeySource = DiscoverySource(issuer.issuer) if url is None else UrlSource(url)
    keys = Fetched(
        name,
        source,
        FetchSchedule(refresh_s=issuer.refresh_s, max_age_s=issuer.keys_max_age),
        on_change=on_change,
        on_fetch=lambda issuer_name, ok: metrics.keys_fetched(issuer_name, ok=ok),
    )
    metrics.keys_age(name, lambda: keys.age_s if keys.age_s is not None else float("nan"))
    return keys
