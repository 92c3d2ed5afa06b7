"""Turns the examples of a page into policies, callers and requests."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import indent
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from authz_server.dev.issuer import create_issuer
from authz_server.identity.keys import parse_jwks
from authz_server.identity.settings import IdentitySettings, Issuer, TrustDomain
from authz_server.model import Answer, Request
from authz_server.request.body import SENT_EXTENSION
from tests.docs.markdown import PAGES, Block, Table, blocks_of, code_spans, sections_of

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
ISSUER = Issuer(name="corp", issuer="https://login.shop.example/", audiences=("shop",), algorithms=("ES256",))
SETTINGS = IdentitySettings(
    issuers=(ISSUER,),
    trust_domains=(TrustDomain(name="shop.example"),),
    certificate="principal",
    identity_headers=("x-user",),
)
DEFAULT_HOST = "orders.shop.example"
DECISION_COLUMNS = ("caller", "request", "decision")

_issuer = create_issuer()
KEYS = {"corp": parse_jwks(msgspec.json.encode(_issuer.jwks()))}


class Callers(Struct, frozen=True):
    """Who the names in a page's tables are, as `kind: tests` documents write them."""

    workloads: dict[str, str]
    users: dict[str, dict[str, Any]]


class Section(Struct, frozen=True):
    """What stands between two headings of a page, with the callers that the page knows."""

    place: str
    policies: tuple[Block, ...]
    tables: tuple[Table, ...]
    callers: Callers

    def __str__(self) -> str:
        return self.place


class Row(Struct, frozen=True):
    """One line of a table of decisions: a request, and what the page says becomes of it."""

    text: str
    request: Request
    allowed: bool
    word: str
    """The rule that allows, or the reason of the denial."""
    changes: tuple[str, ...]
    """What the answer changes, as `changes_of` writes it."""

    def __str__(self) -> str:
        return self.text


def decision_sections() -> list[Section]:
    """The sections of all pages that have policies without errors, or decisions."""
    found = []
    for page in PAGES:
        callers = _callers_of(page)
        for parts in sections_of(page):
            policies = tuple(part for part in parts if isinstance(part, Block) and _is_policy(part))
            tables = tuple(part for part in parts if isinstance(part, Table) and part.columns[:3] == DECISION_COLUMNS)
            if (policies or tables) and not any("wrong" in block.attributes for block in policies):
                found.append(Section(str((policies or tables)[0]), policies, tables, callers))
    return found


def files_of(section: Section) -> dict[str, str]:
    """The policy files of a section; fragments are rules of the service `orders`, which is there in want of another."""
    whole = [block for block in section.policies if "file" in block.attributes]
    files = {block.attributes["file"].removeprefix("policies/"): block.text for block in whole}
    if not any("kind: service" in text for text in files.values()):
        fragments = "".join(block.text for block in section.policies if block not in whole)
        rules = "\n" + indent(fragments, "  ") if fragments else " []"
        files["orders.yaml"] = f"kind: service\nname: orders\nhosts: [{DEFAULT_HOST}]\nrules:{rules}\n"
    return files


def rows_of(section: Section) -> Iterator[Row]:
    """The lines of the tables of decisions."""
    for table in section.tables:
        for caller, asked, decision, *answer in table.rows:
            outcome, _, word = decision.partition(": ")
            yield Row(
                text=f"{table} {caller} {asked}",
                request=_request(caller, asked, section.callers),
                allowed={"allow": True, "deny": False}[outcome],
                word=code_spans(word)[0],
                changes=tuple(part.replace("`", "") for cell in answer for part in cell.split(", ") if part),
            )


def changes_of(answer: Answer) -> set[str]:
    """What an answer changes, in the words of the tables."""
    changes = {f"sets {header.name}: {header.value}" for header in answer.set_headers}
    changes |= {f"removes {name}" for name in answer.remove_headers}
    changes |= {f"sets ?{name}={value}" for name, value in answer.set_query}
    return changes | {f"status {answer.status}"}


def _is_policy(block: Block) -> bool:
    return block.language == "yaml" and ("file" in block.attributes or block.attributes.get("fragment") == "rules")


def _callers_of(page: Path) -> Callers:
    declared = [block for block in blocks_of(page) if "callers" in block.attributes]
    return msgspec.convert(yaml.safe_load(declared[0].text), Callers) if declared else Callers({}, {})


def _request(caller: str, asked: str, callers: Callers) -> Request:
    who, _, address = caller.partition(" at ")
    what, *headers = code_spans(asked)
    method, target = what.split(" ", 1)
    host = DEFAULT_HOST
    if target.startswith("https://"):
        host, slash, path = target.removeprefix("https://").partition("/")
        target = slash + path
    bodies = [span.encode() for span in headers if span.startswith("{")]
    pairs = [span.split(": ", 1) for span in headers if not span.startswith("{")]
    if bodies and "content-type" not in [name for name, _ in pairs]:
        pairs.append(["content-type", "application/json"])
    principal = ""
    for name in code_spans(who):
        if name in callers.workloads:
            principal = callers.workloads[name]
        else:
            pairs.append(["authorization", f"Bearer {_token(callers.users[name])}"])
    return Request(
        method=method,
        target=target,
        host=host,
        headers=tuple((name, value.encode()) for name, value in pairs),
        client_address="".join(code_spans(address)),
        principal=principal,
        body=b"".join(bodies),
        extensions={SENT_EXTENSION: "16385"},
    )


def _token(user: dict[str, Any]) -> str:
    claims = {
        "sub": user["subject"],
        "scope": user.get("scopes", []),
        "groups": user.get("groups", []),
        "roles": user.get("roles", []),
        **user.get("claims", {}),
    }
    assert user["issuer"] == ISSUER.name
    return _issuer.token(ISSUER.issuer, ISSUER.audiences[0], claims, timedelta(minutes=5), NOW)
