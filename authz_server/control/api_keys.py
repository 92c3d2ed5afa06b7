"""The file of API keys: read and checked like a policy file, and written by `authz keys`."""

import base64
import binascii
import re
from typing import Annotated, Any, ClassVar

import yaml
from msgspec import Struct
from pydantic import AfterValidator, Field, StringConstraints, field_validator

from authz_server.control.settings.section import Section
from authz_server.documents.instants import instant
from authz_server.documents.invalid import InvalidValue
from authz_server.documents.load import load
from authz_server.documents.problem import Position, Problem
from authz_server.documents.suggest import quoted
from authz_server.identity.api_keys import HASH_BYTES, ID_PATTERN, MAX_SECRETS, SALT_BYTES, ApiKey, Secret
from authz_server.policy.moments import Instant, seconds_of
from authz_server.policy.values import Network

NO_API_KEYS = b"keys: {}"
_HEAD = "# API keys, written by `authz keys`. Secrets are here as salted hashes only.\n"
_LATEST_S = 253_370_764_800.0
_BASE64URL = re.compile("[A-Za-z0-9_-]*", re.ASCII)
_BY_HAND = "`authz keys create` and `authz keys rotate` write it"


class _Quoted(yaml.SafeDumper):
    """Puts every text in quotes, so that none reads as a number, a time or a truth."""


_Quoted.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


class ApiKeys(Struct, frozen=True):
    """All keys of a file."""

    keys: tuple[ApiKey, ...] = ()


def _bytes_of(size: int) -> AfterValidator:
    def check(text: str) -> str:
        if len(_decoded(text)) != size:
            raise InvalidValue(f"this is not {size} bytes in base64url", hint=_BY_HAND)
        return text

    return AfterValidator(check)


def _scope(text: str) -> str:
    # RFC 6749 section 3.3.
    if not text.isascii() or not text.isprintable() or set(text) & set(' "\\'):
        raise InvalidValue(f"{quoted(text)} is no scope", hint="for example orders:read")
    return text


def _id(text: str) -> str:
    if re.fullmatch(ID_PATTERN, text) is None:
        raise InvalidValue(f"{quoted(text)} is no id of a key", hint=_BY_HAND)
    return text


_Id = Annotated[str, AfterValidator(_id)]
Scope = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_scope)]


def _owner(text: str) -> str:
    if not text.isprintable() or text.strip() != text:
        raise InvalidValue(
            "the name of an owner is printable, without spaces around it", hint="for example nightly-report"
        )
    return text


def _in_this_era(text: str) -> str:
    if not 0 <= seconds_of(text) < _LATEST_S:
        raise InvalidValue(f"{quoted(text)} is not between the years 1970 and 9999", hint=_BY_HAND)
    return text


Owner = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_owner)]
_Moment = Annotated[Instant, AfterValidator(_in_this_era)]


class _SecretSection(Section):
    noun: ClassVar[str] = "a secret"

    salt: Annotated[str, _bytes_of(SALT_BYTES)]
    hash: Annotated[str, _bytes_of(HASH_BYTES)]
    until: _Moment | None = None


class _KeySection(Section):
    noun: ClassVar[str] = "a key"

    owner: Owner
    scopes: list[Scope] = Field(default=[])
    networks: list[Network] = Field(default=[])
    created: _Moment
    expires: _Moment
    revoked: bool = False
    secrets: list[_SecretSection] = Field(min_length=1, max_length=MAX_SECRETS)

    @field_validator("secrets")
    @classmethod
    def _one_is_in_use(cls, secrets: list[_SecretSection]) -> list[_SecretSection]:
        # A file that is cut behind `hash` would make the one before good for ever.
        if [secret.until is None for secret in secrets] != [True, False][: len(secrets)]:
            raise InvalidValue("the first secret has no `until`, and a second one has it", hint=_BY_HAND)
        return secrets

    def compiled(self, key_id: str) -> ApiKey:
        secrets = [
            Secret(_decoded(one.salt), _decoded(one.hash), None if one.until is None else seconds_of(one.until))
            for one in self.secrets
        ]
        return ApiKey(
            id=key_id,
            owner=self.owner,
            created=seconds_of(self.created),
            expires=seconds_of(self.expires),
            secrets=tuple(secrets),
            scopes=frozenset(self.scopes),
            networks=tuple(self.networks),
            revoked=self.revoked,
        )


class _KeyFile(Section):
    noun: ClassVar[str] = "the file of API keys"

    keys: dict[_Id, _KeySection]


def load_api_keys(content: bytes, file: str) -> tuple[ApiKeys | None, list[Problem]]:
    """The keys of a file, or everything that is wrong with it; `file` is the name that messages show."""
    if not content.strip():
        # Whoever writes a file in place empties it first: then nobody would have a key for a moment.
        message, hint = "the file is empty, which is not the same as having no keys", "write `keys: {}` to say so"
        return None, [Problem(Position(file, 1, 1), "empty_file", message, hint)]
    loaded = load(content, _KeyFile, file)
    if loaded.value is None:
        return None, loaded.problems
    return ApiKeys(tuple(section.compiled(key_id) for key_id, section in loaded.value.keys.items())), []


def parse_api_keys(content: bytes) -> ApiKeys:
    """The keys of a file. Raises ValueError, saying all that is wrong with it in one line."""
    keys, problems = load_api_keys(content, "")
    if keys is None:
        raise ValueError("; ".join([problem.in_one_line for problem in problems]))
    return keys


def as_text(keys: ApiKeys) -> str:
    """The file that holds these keys."""
    content = {"keys": {key.id: _as_section(key) for key in keys.keys}}
    return _HEAD + yaml.dump(content, Dumper=_Quoted, sort_keys=False, allow_unicode=True)


def _as_section(key: ApiKey) -> dict[str, Any]:
    section: dict[str, Any] = {"owner": key.owner}
    if key.scopes:
        section["scopes"] = sorted(key.scopes)
    if key.networks:
        section["networks"] = list(key.networks)
    section |= {"created": instant(key.created), "expires": instant(key.expires)}
    if key.revoked:
        section["revoked"] = True
    section["secrets"] = [_secret_as_section(secret) for secret in key.secrets]
    return section


def _secret_as_section(secret: Secret) -> dict[str, str]:
    section = {"salt": _encoded(secret.salt), "hash": _encoded(secret.hash)}
    return section if secret.until is None else {**section, "until": instant(secret.until)}


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """The bytes; none where it is no base64url."""
    if _BASE64URL.fullmatch(text) is None:
        return b""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""
