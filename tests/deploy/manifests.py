"""The Kubernetes manifests as `kubectl apply -k` would read them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from authz_server.control.settings import Settings
from authz_server.control.settings.load import load_settings
from tests.docs.markdown import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"

Manifest = dict[str, Any]


class Variant(Struct, frozen=True):
    """A way to run the server, with all of its manifests."""

    directory: Path

    @property
    def settings(self) -> Settings:
        """The server's configuration, read as the server does."""
        loaded = load_settings(self.directory / "authz.yaml", {})
        assert loaded.settings is not None, "\n".join(map(str, loaded.problems))
        return loaded.settings

    def manifests(self) -> list[Manifest]:
        """Everything that is applied, made config maps included."""
        return list(_applied(self.directory))

    def one(self, kind: str) -> Manifest:
        """The only manifest of a kind."""
        [found] = [manifest for manifest in self.manifests() if manifest["kind"] == kind]
        return found

    def pod(self) -> Manifest:
        """The pod's specification."""
        spec: Manifest = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    def container(self, name: str = "authz") -> Manifest:
        """A container of the pod."""
        [found] = [each for each in containers(self.pod()) if each["name"] == name]
        return found


def containers(pod: Manifest) -> list[Manifest]:
    """All containers of a pod, those that come first too."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def _applied(directory: Path) -> Iterator[Manifest]:
    [kustomization] = documents(directory / "kustomization.yaml")
    for name in kustomization.get("resources", []):
        path = directory / name
        yield from _applied(path.resolve()) if path.is_dir() else documents(path)
    for made in kustomization.get("configMapGenerator", []):
        data = {Path(name).name: (directory / name).read_text() for name in made["files"]}
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": made["name"]}, "data": data}


def documents(path: Path) -> list[Manifest]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


VARIANTS = {name: Variant(KUBERNETES / name) for name in ("service", "sidecar")}
