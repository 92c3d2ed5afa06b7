"""Where policies come from, if not from a directory that somebody else looks after."""

from hashlib import sha256
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from authz_server.control.settings.images import ImageName
from authz_server.control.settings.places import FilePath, Url
from authz_server.control.settings.repositories import Folder, Ref, RepositoryUrl
from authz_server.control.settings.section import Section
from authz_server.documents.invalid import InvalidValue
from authz_server.documents.quantities import Duration, duration_from

CURRENT, FILES = "current", "policies"
"""A link to what was fetched last, and the directory of policies in it."""
Keys = Annotated[list[FilePath], Field(min_length=1, max_length=16, examples=[["bundle.pub"]])]


class HttpSourceSettings(Section):
    """A [bundle](policy-bundles.md) that an HTTP server has."""

    noun: ClassVar[str] = "`http`"

    url: Url = Field(examples=["https://policies.shop.example/shop.tar.gz"])
    """Where the bundle is; with an `ETag` it is sent only when it has changed."""
    keys: Keys
    """Public keys, as `authz bundle keys` writes them; a bundle that none of them has signed is refused."""
    token_file: FilePath | None = Field(default=None, examples=["policies.token"])
    """A file with a token to show (`Authorization: Bearer`), read for each fetch; it is shown to this host alone."""
    ca_file: FilePath | None = Field(default=None, examples=["ca.pem"])
    """The authorities of the server's certificate, in PEM; without it those of the system."""

    @property
    def place(self) -> str:
        """For people; a URL's path and query can hold what is secret."""
        return f"{urlsplit(self.url).scheme}://{urlsplit(self.url).netloc}"

    @property
    def secrets(self) -> dict[str, Path]:
        """The files with secrets, by the names of their settings."""
        return {} if self.token_file is None else {"token_file": self.token_file}

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes it another source."""
        return ("http", self.url)


class OciSourceSettings(Section):
    """A [bundle](policy-bundles.md) that an OCI registry has, as the only layer of an image or artifact."""

    noun: ClassVar[str] = "`oci`"

    image: ImageName
    """Registry, repository, and a tag that moves, or a digest that says exactly which."""
    keys: Keys
    """Public keys, as `authz bundle keys` writes them; a bundle that none of them has signed is refused."""
    username: Annotated[str, Field(min_length=1)] | None = None
    """Who asks, where the registry wants to know."""
    password_file: FilePath | None = Field(default=None, examples=["registry.password"])
    """A file with the password or access token of that name, read whenever it is asked for."""
    token_host: Annotated[str, Field(min_length=1)] | None = Field(default=None, examples=["auth.docker.io"])
    """Another host, with its port if it has one, that may have the password: the one that gives tokens."""
    ca_file: FilePath | None = Field(default=None, examples=["ca.pem"])
    """The authorities of the registry's certificate, in PEM; without it those of the system."""

    @model_validator(mode="after")
    def _name_and_password(self) -> "OciSourceSettings":
        if (self.username is None) != (self.password_file is None):
            raise InvalidValue("`username` and `password_file` stand together", at=("username",))
        return self

    @property
    def place(self) -> str:
        """For people."""
        return self.image

    @property
    def secrets(self) -> dict[str, Path]:
        """The files with secrets, by the names of their settings."""
        return {} if self.password_file is None else {"password_file": self.password_file}

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes it another source."""
        return ("oci", self.image)


class GitSourceSettings(Section):
    """A folder of a Git repository. The `git` program must be there, and `ssh` for URLs of that kind."""

    noun: ClassVar[str] = "`git`"

    url: RepositoryUrl
    """By HTTPS or SSH."""
    ref: Ref = Field(default="main", validate_default=True)
    """A branch or a tag, by its full name (`refs/tags/v1`) where both are there; or the whole hash of a commit."""
    path: Folder = Field(default=".", validate_default=True)
    """The folder of the policies; `.` is the whole repository."""
    username: Annotated[str, Field(min_length=1)] | None = None
    """Who asks by HTTPS, where the host wants to know."""
    password_file: FilePath | None = Field(default=None, examples=["git.password"])
    """A file with the password or access token of that name, read for each fetch."""
    ssh_key_file: FilePath | None = Field(default=None, examples=["deploy.key"])
    """The private key for SSH, without a pass phrase."""
    known_hosts_file: FilePath | None = Field(default=None, examples=["known_hosts"])
    """The keys of the SSH host, as `ssh-keyscan` prints them: no other host is believed."""
    ca_file: FilePath | None = Field(default=None, examples=["ca.pem"])
    """The authorities of the host's certificate, in PEM; without it those of the system."""

    @model_validator(mode="after")
    def _what_the_url_needs(self) -> "GitSourceSettings":
        if (self.username is None) != (self.password_file is None):
            raise InvalidValue("`username` and `password_file` stand together", at=("username",))
        over_ssh = self.url.startswith("ssh:")
        if over_ssh and (self.ssh_key_file is None or self.known_hosts_file is None):
            raise InvalidValue("SSH needs `ssh_key_file` and `known_hosts_file`", at=("url",))
        if over_ssh and (self.password_file is not None or self.ca_file is not None):
            raise InvalidValue("`username`, `password_file` and `ca_file` are for HTTPS", at=("url",))
        if not over_ssh and (self.ssh_key_file is not None or self.known_hosts_file is not None):
            raise InvalidValue("`ssh_key_file` and `known_hosts_file` are for SSH", at=("url",))
        return self

    @property
    def keys(self) -> list[Path]:
        """Commits are not verified."""
        return []

    @property
    def place(self) -> str:
        """For people."""
        return self.url

    @property
    def secrets(self) -> dict[str, Path]:
        """The files with secrets, by the names of their settings."""
        named = {
            "password_file": self.password_file,
            "ssh_key_file": self.ssh_key_file,
            "known_hosts_file": self.known_hosts_file,
        }
        return {name: file for name, file in named.items() if file is not None}

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes it another source."""
        return ("git", self.url, self.ref, self.path)


SourceKind = HttpSourceSettings | OciSourceSettings | GitSourceSettings


class SourceSettings(Section):
    """Policies that are fetched; exactly one of the kinds. See [where policies come from](policy-sources.md)."""

    noun: ClassVar[str] = "`source`"

    http: HttpSourceSettings | None = None
    oci: OciSourceSettings | None = None
    git: GitSourceSettings | None = None
    poll: Annotated[Duration, duration_from("1s", "1d")] = Field(default="30s", validate_default=True)
    """How often is looked for something else; a tenth less at random, so that replicas do not ask together."""
    timeout: Annotated[Duration, duration_from("1s", "10m")] = Field(default="30s", validate_default=True)
    """The longest that one fetch may take."""
    accept_older: bool = False
    """Whether policies are taken whose [number](policy-reference.md#minimum-revision) is smaller than that of those
    before, or missing: somebody may have put them there again to take a change back."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "SourceSettings":
        if sum(kind is not None for kind in (self.http, self.oci, self.git)) != 1:
            raise InvalidValue("`source` takes exactly one of `http`, `oci` and `git`")
        return self

    @property
    def name(self) -> str:
        """Of the kind, as the configuration has it."""
        return next(name for name in ("http", "oci", "git") if getattr(self, name) is not None)

    @property
    def kind(self) -> SourceKind:
        """The one that there is."""
        kind = self.http or self.oci or self.git
        assert kind is not None  # noqa: S101  # as validated above
        return kind

    def directory(self, run_directory: Path) -> Path:
        """Where everything fetched from this source is: of another source nothing is ever used."""
        identity = "\0".join(self.kind.identity).encode()
        return run_directory / "fetched" / sha256(identity).hexdigest()[:16]

    def policies(self, run_directory: Path) -> Path:
        """Where their files are read."""
        return self.directory(run_directory) / CURRENT / FILES
