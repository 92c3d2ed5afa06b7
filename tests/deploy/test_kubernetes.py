"""The Kubernetes manifests are valid, confined, and agree with the server's configuration in them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.control.admin import admin_app, probes_app
from authz_server.control.policies import known_names
from authz_server.control.readiness import Policies, Workers, readiness
from authz_server.control.server import DRAIN_S
from authz_server.policy.loader import load_policies
from authz_server.worker.address import TcpAddress, UnixAddress
from tests.deploy.manifests import KUBERNETES, VARIANTS, Variant, containers, documents
from tests.docs.markdown import ROOT

OLDEST, NEWEST = "1.29", "1.37"
"""Versions of Kubernetes: the first with sidecar containers, and the newest whose schemas are known."""
MIB_PER_PROCESS = 256
"""What docs/operations.md says of memory, for each worker and for the control process."""


def problem(manifest: dict[str, Any], version: str) -> str:
    """What is wrong with it by the schemas of Kubernetes, where no field is allowed that they do not know."""
    # To import it takes more than most tests do, in every process that only looks for tests.
    import kubernetes_validate

    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return ""


every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


@every_variant
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_manifests_are_valid(variant: Variant, version: str) -> None:
    """By the schemas of Kubernetes, without a field that they do not know."""
    for manifest in variant.manifests():
        assert problem(manifest, version) == ""


def test_the_schemas_find_what_is_wrong() -> None:
    """A field in the wrong place is refused."""
    manifest = VARIANTS["service"].one("Deployment")
    manifest["spec"]["readinessProbe"] = {}
    assert "readinessProbe" in problem(manifest, NEWEST)


def test_no_file_is_left_out() -> None:
    """Every file belongs to a kustomization."""
    used = set()
    for path in KUBERNETES.glob("*/kustomization.yaml"):
        [kustomization] = documents(path)
        files = [name for made in kustomization.get("configMapGenerator", []) for name in made["files"]]
        used |= {path, *(path.parent / name for name in [*kustomization.get("resources", []), *files])}
    assert {path for path in KUBERNETES.rglob("*") if path.is_file()} == {path for path in used if path.is_file()}


@every_variant
def test_containers_are_confined(variant: Variant) -> None:
    """No root, no file of the image written, no privilege, no token, and a bound on memory."""
    pod = variant.pod()
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context.get("runAsUser", pod["securityContext"].get("runAsUser", 0)) > 0
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@every_variant
def test_the_server_runs_as_the_user_of_the_image(variant: Variant) -> None:
    """Its volumes are that user's."""
    [user, group] = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)[0]
    pod, container = variant.pod()["securityContext"], variant.container()["securityContext"]
    assert container.get("runAsUser", pod.get("runAsUser")) == int(user)
    assert pod["runAsGroup"] == pod["fsGroup"] == int(group)


@every_variant
def test_probes_ask_where_the_server_answers(variant: Variant) -> None:
    """By the address in the configuration, and by paths that there are."""
    container, settings = variant.container(), variant.settings
    assert settings.probes is not None
    assert isinstance(settings.probes.listen, TcpAddress)
    paths = {route.path for route in probes_app(lambda: READY).routes}  # type: ignore[attr-defined]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for probe, path in wanted.items():
        asked = container[probe]["httpGet"]
        assert asked["path"] == path
        assert path in paths
        assert ports[asked["port"]] == settings.probes.listen.port


@every_variant
def test_metrics_are_where_the_monitoring_may_ask(variant: Variant) -> None:
    """And nobody else: the admin address is for operators."""
    settings, container = variant.settings, variant.container()
    assert isinstance(settings.admin.listen, TcpAddress)
    assert "/metrics" in {r.path for r in admin_app(lambda: READY, bytes).routes}  # type: ignore[attr-defined]
    [metrics] = [port["containerPort"] for port in container["ports"] if port["name"] == "metrics"]
    assert metrics == settings.admin.listen.port
    [rule] = [rule for rule in _ingress(variant) if _lets_in(rule, metrics)]
    [source] = rule["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}


@every_variant
def test_everything_that_listens_is_let_in_and_nothing_else(variant: Variant) -> None:
    """The ports of the network policy are those of the containers."""
    listening = {port["containerPort"] for each in containers(variant.pod()) for port in each.get("ports", [])}
    assert {port["port"] for rule in _ingress(variant) for port in rule["ports"]} == listening


@every_variant
def test_files_are_where_the_configuration_says(variant: Variant) -> None:
    """What is read is mounted read-only, and what is written has a volume; each volume is there."""
    settings, container = variant.settings, variant.container()
    [configuration] = [variable["value"] for variable in container["env"] if variable["name"] == "AUTHZ_CONFIG"]
    mounts = {Path(mount["mountPath"]): mount for mount in container["volumeMounts"]}
    assert mounts[Path(configuration)]["subPath"] == "authz.yaml"
    read = [Path(configuration), settings.policies.directory]
    if settings.tls is not None:
        assert settings.tls.client_ca is not None
        read += [settings.tls.certificate, settings.tls.key, settings.tls.client_ca]
    for path in read:
        assert _mount_of(path, mounts).get("readOnly") is True, path
    written = [settings.run_directory, settings.audit.file.path, settings.listen.endpoints_file]
    if isinstance(settings.listen.address, UnixAddress):
        written.append(Path(settings.listen.address.path))
    for path in written:
        mount = _mount_of(path, mounts)
        assert "readOnly" not in mount, path
        volume = _volume(variant, mount["name"])
        assert "emptyDir" in volume
        if path == settings.run_directory:
            # Records on their way to the audit are not to go with the memory of the machine.
            assert "medium" not in volume["emptyDir"]


@every_variant
def test_what_is_mounted_is_there(variant: Variant) -> None:
    """Every volume is of the pod, and every config map is made; secrets are yours, and told of."""
    pod = variant.pod()
    made = {manifest["metadata"]["name"] for manifest in variant.manifests() if manifest["kind"] == "ConfigMap"}
    about = (variant.directory / "kustomization.yaml").read_text()
    for container in containers(pod):
        for mount in container.get("volumeMounts", []):
            volume = _volume(variant, mount["name"])
            if "configMap" in volume:
                assert volume["configMap"]["name"] in made
            elif "secret" in volume:
                assert f"`{volume['secret']['secretName']}`" in about


@every_variant
def test_the_policies_are_good_with_the_configuration(variant: Variant, tmp_path: Path) -> None:
    """As Kubernetes lays a config map out: links to a hidden folder, which changes as a whole."""
    [policies] = [one for one in variant.manifests() if one["metadata"]["name"] == "authz-policies"]
    hidden = tmp_path / "..2026_03_02"
    hidden.mkdir()
    (tmp_path / "..data").symlink_to(hidden.name)
    for name, text in policies["data"].items():
        (hidden / name).write_text(text)
        (tmp_path / name).symlink_to(f"..data/{name}")
    loaded = load_policies(tmp_path, known_names(variant.settings))
    assert not loaded.problems
    assert loaded.plan is not None
    assert [service.name for service in loaded.plan.services] == ["orders"]


@every_variant
def test_selectors_select_the_pods(variant: Variant) -> None:
    """Of the deployment, the budget, the network policy and the service."""
    deployment = variant.one("Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert variant.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert variant.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    for manifest in variant.manifests():
        if manifest["kind"] == "Service":
            assert manifest["spec"]["selector"] == labels


@every_variant
def test_there_is_always_a_replica_and_time_to_drain(variant: Variant) -> None:
    """A roll-out starts one before it ends one, and nobody is killed while it finishes its calls."""
    deployment = variant.one("Deployment")["spec"]
    assert deployment["replicas"] >= 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert variant.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert variant.pod()["terminationGracePeriodSeconds"] >= DRAIN_S + 8


@every_variant
def test_memory_is_as_the_page_for_operators_says(variant: Variant) -> None:
    """For the control process and as many workers as the quota has cores."""
    limits, settings = variant.container()["resources"]["limits"], variant.settings
    workers = int(limits["cpu"]) if settings.workers == "auto" else settings.workers
    units = {"Mi": 1, "Gi": 1024}
    memory = int(limits["memory"][:-2]) * units[limits["memory"][-2:]]
    assert memory >= MIB_PER_PROCESS * (1 + workers)
    assert (
        f"{MIB_PER_PROCESS} MiB, and {MIB_PER_PROCESS} MiB for each worker" in (ROOT / "docs/operations.md").read_text()
    )


def test_the_service_names_the_port_of_check() -> None:
    """Without an address of its own, so that Envoy spreads requests over the pods."""
    variant = VARIANTS["service"]
    address, service = variant.settings.listen.address, variant.one("Service")["spec"]
    assert isinstance(address, TcpAddress)
    ports = {port["name"]: port["containerPort"] for port in variant.container()["ports"]}
    [port] = service["ports"]
    assert port["port"] == ports[port["targetPort"]] == address.port
    assert service["clusterIP"] == "None"


def test_only_proxies_with_a_certificate_can_ask_the_service() -> None:
    """Whoever can call Check can ask about anybody."""
    settings = VARIANTS["service"].settings
    assert settings.tls is not None
    assert settings.tls.client_ca is not None
    assert settings.tls.clients
    [rule] = [rule for rule in _ingress(VARIANTS["service"]) if _lets_in(rule, 9001)]
    assert rule["from"][0]["podSelector"]["matchLabels"]


def test_envoy_beside_an_application_gets_its_configuration_from_the_server_s(tmp_path: Path) -> None:
    """With the command of the manifest: it listens where the manifest says, and asks where the server listens."""
    variant = VARIANTS["sidecar"]
    output, policies = tmp_path / "envoy.yaml", KUBERNETES / "base" / "policies"
    here = {"--config": variant.directory / "authz.yaml", "--output": output}
    names = [argument.partition("=")[0] for argument in variant.container("envoy-config")["args"]]
    assert here.keys() <= set(names)
    arguments = [
        f"{name}={here[name]}" if name in here else argument
        for name, argument in zip(names, variant.container("envoy-config")["args"], strict=True)
    ]
    result = CliRunner().invoke(app, [*arguments, f"--policies={policies}"])
    assert result.exit_code == 0, result.output
    made: dict[str, Any] = yaml.safe_load(output.read_text())
    listener = made["static_resources"]["listeners"][0]["address"]["socket_address"]
    [port] = variant.container("envoy")["ports"]
    assert listener["port_value"] == port["containerPort"]
    assert str(variant.settings.listen.endpoints_file) in output.read_text()


def _mount_of(path: Path, mounts: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    [deepest] = sorted((mount for mount in mounts if path == mount or path.is_relative_to(mount)), reverse=True)[:1]
    return mounts[deepest]


def _volume(variant: Variant, name: str) -> dict[str, Any]:
    [volume] = [volume for volume in variant.pod()["volumes"] if volume["name"] == name]
    return dict(volume)


def _ingress(variant: Variant) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = variant.one("NetworkPolicy")["spec"]["ingress"]
    return rules


def _lets_in(rule: dict[str, Any], port: int) -> bool:
    return any(each["port"] == port for each in rule["ports"])


READY = readiness(Policies("r", 0), Workers(1, 1), {}, [], draining=False)
