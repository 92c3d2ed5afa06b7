"""Places in settings: paths, addresses to listen on, URLs to fetch."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from authz_server.documents.invalid import InvalidValue
from authz_server.worker.address import Address, AddressError, UnixAddress, parse_address


class EnvironmentText(str):
    """A text that came from an environment variable: a relative path in it is relative to the working directory."""


def is_loopback_host(host: str) -> bool:
    """Whether a URL's host is this machine for certain: `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(text: str) -> str:
    """Give back an `https:` URL, or an `http:` one on loopback, unchanged. Raises InvalidValue."""
    if not text.isascii() or any(c <= " " or c == "\x7f" for c in text):
        raise InvalidValue("a URL holds no spaces, control characters or characters outside ASCII")
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        raise InvalidValue("this is no URL", hint="for example https://login.example/") from None
    if url.scheme not in ("https", "http") or not host:
        raise InvalidValue("a URL begins with `https://` and a host", hint="for example https://login.example/")
    if url.username is not None or url.password is not None:
        raise InvalidValue("a URL holds no user name or password")
    if "#" in text:
        raise InvalidValue("a URL to fetch has no fragment", hint="remove what begins with `#`")
    if url.scheme == "http" and not is_loopback_host(host):
        raise InvalidValue("`http:` is for loopback only", hint="write `https:`")
    return text


def _resolve(path: str, info: ValidationInfo) -> Path:
    base = Path.cwd() if isinstance(path, EnvironmentText) else (info.context or {}).get("base", Path.cwd())
    return Path(os.path.normpath(base / Path(path).expanduser()))


def _path(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidValue("a path is a text that is not empty")
    return _resolve(value, info)


def _address(value: object, info: ValidationInfo) -> Address:
    if not isinstance(value, str):
        raise InvalidValue("an address is a text", hint="for example 127.0.0.1:9001")
    try:
        address = parse_address(value)
        if isinstance(address, UnixAddress):
            path = type(value)(address.path)
            address = parse_address(f"unix:{_resolve(path, info)}")
    except AddressError as error:
        raise InvalidValue(str(error)) from None
    return address


_ENDPOINT_EXAMPLE = "for example unix:///run/spire/agent-sockets/api.sock"


def _workload_endpoint(text: str) -> str:
    """SPIFFE Workload Endpoint standard section 4."""
    scheme, separator, rest = text.partition("://")
    if scheme == "unix" and separator and rest.startswith("/") and "\0" not in rest:
        return text
    host, colon, port = rest.rpartition(":")
    if scheme == "tcp" and colon and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536:
        address = host.removeprefix("[").removesuffix("]")
        if address != "localhost" and is_loopback_host(address):
            return text
        raise InvalidValue("the Workload API is spoken in the clear, so on loopback only", hint=_ENDPOINT_EXAMPLE)
    raise InvalidValue("this is no address of a Workload API", hint=_ENDPOINT_EXAMPLE)


WorkloadEndpoint = Annotated[
    str,
    AfterValidator(_workload_endpoint),
    WithJsonSchema({"type": "string", "examples": ["unix:///run/spire/agent-sockets/api.sock"]}),
]

FilePath = Annotated[
    Path,
    PlainValidator(_path),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
"""Absolute; written absolute, or relative to the configuration file."""

ListenAddress = Annotated[
    Address,
    PlainValidator(_address),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:9001", "unix:/run/authz/check-{worker}.sock"]}),
]

Url = Annotated[
    str,
    AfterValidator(check_url),
    WithJsonSchema({"type": "string", "pattern": "^https?://", "examples": ["https://login.example/"]}),
]
