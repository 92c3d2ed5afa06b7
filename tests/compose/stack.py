"""The compose file, run by a real engine."""

import json
import os
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "docker-compose.yaml"
UP_TIMEOUT_S = 400
TIMEOUT_S = 60


def compose_command() -> tuple[str, ...] | None:
    """How this machine calls compose: the plugin, or the program before it."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if _succeeds([*command, "version"]):
            return command
    return None


def what_is_missing() -> str | None:
    """Why the compose file cannot be run here; None when it can."""
    if compose_command() is None:
        return "neither `docker compose` nor `docker-compose` is installed"
    if not _succeeds(["docker", "info"]):
        return "no Docker engine answers (DOCKER_HOST says where it is)"
    return None


class Stack:
    """One project of the compose file, with ports of its own, and policies that a test may edit."""

    def __init__(self, project: str, policies: Path) -> None:
        self.policies = policies
        self._command = [*(compose_command() or ()), "-p", project, "-f", str(FILE)]
        # Empty ports: any that are free.
        self._environment = os.environ | {"POLICIES": str(policies), "ENVOY_PORT": "", "ADMIN_PORT": ""}
        self._containers: dict[str, str] = {}

    def up(self) -> None:
        """Build and start everything; returns when Envoy was started, which waits for the rest."""
        try:
            self.compose("up", "-d", "--build", timeout_s=UP_TIMEOUT_S)
        except subprocess.CalledProcessError as error:
            said = b"\n".join((error.stdout, error.stderr)).decode(errors="replace")
            raise AssertionError(f"{said}\n{self.compose('logs', '--no-color')}") from error

    def down(self) -> None:
        """Leave no container, network or volume behind."""
        self.compose("down", "-v", "--remove-orphans")

    def compose(self, *arguments: str, timeout_s: float = TIMEOUT_S) -> str:
        """Run a compose command; gives what it prints. Raises CalledProcessError."""
        return _run([*self._command, *arguments], timeout_s, self._environment).decode()

    def inside(self, service: str, *command: str) -> bytes:
        """Run a command in a service's container; gives what it prints. Raises CalledProcessError."""
        if service not in self._containers:
            self._containers[service] = self.compose("ps", "-q", service).strip()
        return _run(["docker", "exec", self._containers[service], *command])

    def image_bytes(self, image: str) -> int:
        """The size of an image."""
        return int(_run(["docker", "image", "inspect", "--format", "{{.Size}}", image]))

    def port(self, service: str, port: int) -> int:
        """The port on this machine's loopback at which a service's port is published."""
        return int(self.compose("port", service, str(port)).strip().rpartition(":")[2])

    def containers(self) -> list[dict[str, Any]]:
        """What the engine says of each running container."""
        ids = self.compose("ps", "-q").split()
        inspected: list[dict[str, Any]] = json.loads(_run(["docker", "inspect", *ids]))
        return [each for each in inspected if each["State"]["Running"]]

    def records(self) -> list[dict[str, Any]]:
        """The audit file so far."""
        lines = self.inside("authz", "cat", "/var/lib/authz/decisions.jsonl").splitlines()
        return [json.loads(line) for line in lines]

    def token(self, *options: str) -> str:
        """A token of the demo's issuer."""
        printed = self.inside("identities", "authz", "dev", "token", "--key", "/run/callers/issuer.key", *options)
        return printed.decode().strip()

    def copy_identities(self, directory: Path) -> None:
        """Copy the callers' certificates and keys to this machine."""
        archive = self.inside("identities", "tar", "-c", "-C", "/run/callers", ".")
        with tarfile.open(fileobj=BytesIO(archive)) as files:
            files.extractall(directory, filter="data")


def _run(command: Sequence[str], timeout_s: float = TIMEOUT_S, environment: Mapping[str, str] | None = None) -> bytes:
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=True
    ).stdout


def _succeeds(command: Sequence[str]) -> bool:
    try:
        _run(command)
    except (OSError, subprocess.SubprocessError):
        return False
    return True
