"""Runs the `git` program so that nothing but what it is told here has a say: no configuration, hooks, filters, prompts.

Each run is bounded: what it may print, write and take of memory here, how long it takes by whoever waits for it.
"""

import asyncio
import os
import shlex
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

from msgspec import Struct

from authz_server.bounds import KIB, MIB, Bound
from authz_server.control.fetching import FetchFailed
from authz_server.control.settings.places import is_loopback_host
from authz_server.control.sources.web import read_secret
from authz_server.documents.source import printable

MAX_FILE_BYTES = 256 * MIB
_MAX_ADDRESS_SPACE = 4096 * MIB
_MAX_WORDS = 64 * KIB
REPOSITORY = Bound(
    "fetched repositories",
    "server",
    entries=1,
    bytes=MAX_FILE_BYTES,
    holds="One commit of a repository, on disk, while policies are taken from it.",
    full="`git` is ended, and the policies of before stay.",
)
_LIMITED = 'ulimit -c 0 && ulimit -f "$1" && ulimit -v "$2" && shift 2 && exec "$@"'
_NOTHING_CAME = "fatal: Could not read from remote repository."
_TOO_LARGE = ("invalid index-pack output", "died of signal", "File too large", "Out of memory")
_CONFIGURATION = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.bigFileThreshold": "1m",
    "credential.helper": "",
    # One file for all that comes, so that its size has a limit.
    "fetch.unpackLimit": "1",
    "fetch.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "protocol.version": "2",
}
_PROXIES = ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY")


class GitFailed(Exception):
    """`git` did not do it; its own words, for people."""


class TooMuchOutput(Exception):
    """It printed more than it may."""


class Access(Struct, frozen=True):
    """How a repository is reached: its URL, and files with what is shown to it and asked of it."""

    url: str
    username: str | None = None
    password_file: Path | None = None
    ssh_key_file: Path | None = None
    known_hosts_file: Path | None = None
    ca_file: Path | None = None


class GitProgram:
    """`git` in a directory of its own, which it needs for one fetch."""

    def __init__(self, access: Access, directory: Path) -> None:
        """`directory` is there and empty. Blocks. Raises FetchFailed, OSError."""
        self._directory = directory
        self._environment = _environment(access, directory)

    async def run(self, *arguments: str, max_bytes: int = _MAX_WORDS, given: bytes = b"") -> bytes:
        """What it prints, of `max_bytes` at most. Raises GitFailed, TooMuchOutput, FetchFailed where there is none."""
        limits = (str(MAX_FILE_BYTES // 512), str(_MAX_ADDRESS_SPACE // KIB))
        try:
            process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", _LIMITED, "sh", *limits, "git", *arguments),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=self._directory,
                env=self._environment,
                # No terminal to ask anybody at, and one group to end.
                start_new_session=True,
            )
        except OSError as error:
            raise FetchFailed(f"the program `git` cannot be run: {error.strerror or error}") from None
        try:
            return await _outcome(process, given, max_bytes)
        finally:
            # Whatever it has started, too: it has a group of its own.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())


async def _outcome(process: Process, given: bytes, max_bytes: int) -> bytes:
    assert process.stdin is not None  # noqa: S101  # they are pipes
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    words = asyncio.create_task(_words(process.stderr))
    writing = asyncio.create_task(_write(process.stdin, given))
    try:
        output = bytearray()
        while chunk := await process.stdout.read(64 * KIB):
            output += chunk
            if len(output) > max_bytes:
                raise TooMuchOutput
        code = await process.wait()
        if code == 127:
            raise FetchFailed("there is no program `git` here")
        if code:
            raise GitFailed(_in_words(await words, code))
        return bytes(output)
    finally:
        words.cancel()
        writing.cancel()


async def _write(stream: asyncio.StreamWriter, given: bytes) -> None:
    # Whoever ends early says why elsewhere.
    with suppress(ConnectionError):
        stream.write(given)
        await stream.drain()
        stream.close()


async def _words(stream: asyncio.StreamReader) -> bytes:
    """The last that it says; all is read, so that it never waits for us."""
    said = b""
    while chunk := await stream.read(64 * KIB):
        said = (said + chunk)[-_MAX_WORDS:]
    return said


def _in_words(said: bytes, code: int) -> str:
    text = said.decode(errors="replace")
    if code < 0 or any(sign in text for sign in _TOO_LARGE):
        return f"git gave up: what it fetches has over {MAX_FILE_BYTES:,} bytes, takes too much memory, or is damaged"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = next((number for number, line in enumerate(lines) if line.startswith(("fatal:", "error:"))), None)
    if told is None:
        return f"git exits with {code}"
    if lines[told] == _NOTHING_CAME and told > 0:
        # Of why, git knows nothing; the last that ssh has said before.
        return f"ssh says: {printable(lines[told - 1])[:300]}"
    return f"git says: {printable(lines[told])[:300]}"


def _environment(access: Access, directory: Path) -> dict[str, str]:
    url = urlsplit(access.url)
    configuration = dict(_CONFIGURATION)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),
        "GIT_DIR": str(directory / "repository"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": url.scheme,
        "LC_ALL": "C",
    }
    if not is_loopback_host(url.hostname or ""):
        environment |= {name: os.environ[name] for name in _PROXIES if name in os.environ}
    authorities = os.environ.get("SSL_CERT_FILE") if access.ca_file is None else str(access.ca_file)
    if authorities:
        environment["GIT_SSL_CAINFO"] = authorities
    if access.password_file is not None:
        configuration["credential.helper"] = f"store --file={shlex.quote(str(_write_password(access, directory)))}"
    if url.scheme == "ssh":
        environment |= {"GIT_SSH_COMMAND": _ssh(access), "GIT_SSH_VARIANT": "ssh"}
    return environment | _as_environment(configuration)


def _write_password(access: Access, directory: Path) -> Path:
    """Put it where git finds it for this host alone: not on a command line, nor in an environment."""
    assert access.password_file is not None  # noqa: S101  # asked before
    url = urlsplit(access.url)
    name, password = quote(access.username or "", safe=""), quote(read_secret(access.password_file), safe="")
    file = directory / "credentials"
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as stream:
        stream.write(f"{url.scheme}://{name}:{password}@{url.netloc}\n")
    return file


def _ssh(access: Access) -> str:
    options: Sequence[str] = (
        "BatchMode=yes",
        "ClearAllForwardings=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=/dev/null",
        f'UserKnownHostsFile="{access.known_hosts_file}"',
    )
    named = [part for option in options for part in ("-o", option)]
    return shlex.join(["ssh", "-F", "none", "-i", str(access.ssh_key_file), *named])


def _as_environment(configuration: Mapping[str, str]) -> dict[str, str]:
    """Configuration that no file can override."""
    pairs = {"GIT_CONFIG_COUNT": str(len(configuration))}
    for number, (name, value) in enumerate(configuration.items()):
        pairs |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return pairs
