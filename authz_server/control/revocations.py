"""The file of revocations: read and checked like a policy file."""

from collections.abc import Collection, Iterator
from math import inf
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, StringConstraints

from authz_server.control.settings.section import Section
from authz_server.documents.invalid import InvalidValue
from authz_server.documents.load import load
from authz_server.documents.problem import Position, Problem
from authz_server.documents.suggest import did_you_mean, listing, quoted
from authz_server.documents.tree import Document
from authz_server.identity.revocations import IssuerRevocations, Revocations
from authz_server.identity.spiffe import InvalidSpiffeId, parse_spiffe_id
from authz_server.policy.compiler import KnownNames
from authz_server.policy.moments import Instant, seconds_of


def _spiffe_id(text: str) -> str:
    try:
        return parse_spiffe_id(text).text
    except InvalidSpiffeId as error:
        raise InvalidValue(str(error), hint="for example spiffe://shop.example/ns/front/sa/web") from None


def _serial(text: str) -> str:
    """As certificates have it: `openssl x509 -serial` prints upper case and a leading zero."""
    digits = text.replace(":", "").lower().lstrip("0")
    if not digits or not set(digits) <= set("0123456789abcdef"):
        raise InvalidValue(f"{quoted(text)} is no serial number", hint='hexadecimal, for example "5f3a09c1"')
    return digits


_Text = Annotated[str, StringConstraints(min_length=1)]
_Texts = Annotated[list[_Text], Field(default=[])]


class _IssuerSection(Section):
    noun: ClassVar[str] = "an issuer"

    before: Instant | None = None
    tokens: _Texts
    sessions: _Texts
    keys: _Texts
    subjects: _Texts
    subjects_before: dict[_Text, Instant] = Field(default={})

    def compiled(self) -> IssuerRevocations:
        before = {subject: seconds_of(instant) for subject, instant in self.subjects_before.items()}
        return IssuerRevocations(
            before=-inf if self.before is None else seconds_of(self.before),
            tokens=frozenset(self.tokens),
            sessions=frozenset(self.sessions),
            keys=frozenset(self.keys),
            subjects=before | dict.fromkeys(self.subjects, inf),
        )


class _RevocationFile(Section):
    noun: ClassVar[str] = "the file of revocations"

    issuers: dict[str, _IssuerSection] = Field(default={})
    workloads: list[Annotated[str, AfterValidator(_spiffe_id)]] = Field(default=[])
    certificates: dict[str, list[Annotated[str, AfterValidator(_serial)]]] = Field(default={})


def load_revocations(content: bytes, known: KnownNames, file: str) -> tuple[Revocations | None, list[Problem]]:
    """What a file revokes, or everything that is wrong with it; `file` is the name that messages show."""
    if not content.strip():
        # Whoever writes a file in place empties it first: then nothing would be revoked for a moment.
        message, hint = "the file is empty, which is not the same as revoking nothing", "write `issuers: {}` to say so"
        return None, [Problem(Position(file, 1, 1), "empty_file", message, hint)]
    loaded = load(content, _RevocationFile, file)
    if loaded.value is None or loaded.document is None:
        return None, loaded.problems
    problems = list(_unknown_names(loaded.value, loaded.document, known))
    if problems:
        return None, problems
    return _compiled(loaded.value), []


def parse_revocations(content: bytes, known: KnownNames) -> Revocations:
    """What a file revokes. Raises ValueError, saying all that is wrong with it in one line."""
    revocations, problems = load_revocations(content, known, "")
    if revocations is None:
        raise ValueError("; ".join([problem.in_one_line for problem in problems]))
    return revocations


def _compiled(file: _RevocationFile) -> Revocations:
    return Revocations(
        issuers={name: section.compiled() for name, section in file.issuers.items()},
        workloads=frozenset(file.workloads),
        certificates={domain: frozenset(serials) for domain, serials in file.certificates.items()},
    )


def _unknown_names(file: _RevocationFile, document: Document, known: KnownNames) -> Iterator[Problem]:
    """A name that is written wrong would revoke nothing, and nobody would notice."""
    yield from _unknown(document, "issuers", file.issuers, known.issuers, "issuer")
    yield from _unknown(document, "certificates", file.certificates, known.trust_domains, "trust domain")
    for number, workload in enumerate(file.workloads):
        domain = parse_spiffe_id(workload).trust_domain
        if domain not in known.trust_domains:
            yield _problem(document, ("workloads", number), domain, known.trust_domains, "trust domain", key=False)


def _unknown(
    document: Document, field: str, names: Collection[str], known: Collection[str], noun: str
) -> Iterator[Problem]:
    for name in names:
        if name not in known:
            yield _problem(document, (field, name), name, known, noun, key=True)


def _problem(
    document: Document, path: tuple[str | int, ...], name: str, known: Collection[str], noun: str, *, key: bool
) -> Problem:
    names = sorted(known)
    others = f"configured are {listing(names)}" if names else f"the configuration has no {noun}"
    message = f"no {noun} {quoted(name)} is configured"
    return document.problem(
        path, f"unknown_{noun.replace(' ', '_')}", message, did_you_mean(name, names, others), key=key
    )
