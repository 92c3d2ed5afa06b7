"""Places in Git repositories."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, WithJsonSchema

from authz_server.control.settings.places import check_url
from authz_server.documents.invalid import InvalidValue

# What needs no escape in a URL and is no option: helpers of git and ssh get these texts.
_PLACE = r"(?:/[A-Za-z0-9_~+][A-Za-z0-9._~+-]*)+/?"
_SSH = re.compile(
    rf"ssh://(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{{1,5}})?{_PLACE}"
)
_WEB_PATH = re.compile(_PLACE)
_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._+/@-]*[A-Za-z0-9_+-])?")
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*|[.]")


def is_commit(ref: str) -> bool:
    """Whether it is the whole hash of a commit."""
    return _COMMIT.fullmatch(ref) is not None


def _check_repository(text: str) -> str:
    if text.startswith("ssh:"):
        if not _SSH.fullmatch(text):
            raise InvalidValue(
                "this is no URL of a repository", hint="for example ssh://git@git.shop.example/policies.git"
            )
        return text
    if not text.startswith(("https:", "http:")):
        # Also what `git clone` takes: a path, or `git@host:path`.
        raise InvalidValue(
            "a repository is named by an `https://` or `ssh://` URL",
            hint="for example ssh://git@git.shop.example/policies.git",
        )
    url = urlsplit(check_url(text))
    if url.query or not _WEB_PATH.fullmatch(url.path):
        raise InvalidValue("this is no URL of a repository", hint="for example https://git.shop.example/policies.git")
    return text


def _check_ref(text: str) -> str:
    """As `git check-ref-format` does, and stricter."""
    parts = text.split("/")
    if not _REF.fullmatch(text) or ".." in text or "@{" in text or text == "@":
        raise InvalidValue("this is no branch, tag or commit", hint="for example main, or refs/tags/v1")
    if any(not part or part.startswith(".") or part.endswith((".lock", ".")) for part in parts):
        raise InvalidValue("this is no branch, tag or commit", hint="for example main, or refs/tags/v1")
    return text


def _check_folder(text: str) -> str:
    if not _FOLDER.fullmatch(text):
        raise InvalidValue("this is no folder of a repository", hint="for example policies, or . for all of it")
    return text


RepositoryUrl = Annotated[
    str,
    AfterValidator(_check_repository),
    WithJsonSchema(
        {"type": "string", "pattern": "^(https?|ssh)://", "examples": ["https://git.shop.example/policies.git"]}
    ),
]
Ref = Annotated[str, AfterValidator(_check_ref), WithJsonSchema({"type": "string", "examples": ["main"]})]
Folder = Annotated[str, AfterValidator(_check_folder), WithJsonSchema({"type": "string", "examples": ["policies"]})]
