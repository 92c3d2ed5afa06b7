"""`authz envoy config` writes what Envoy needs for the server's settings."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from authz_server.cli import app
from authz_server.control.endpoints import CLUSTER
from authz_server.envoy.config_listener import CHECK_CLUSTER

ROOT = Path(__file__).resolve().parents[3]
TLS = {"certificate": "server.pem", "key": "server.key"}


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AUTHZ_")]:
        monkeypatch.delenv(name)


def run(*arguments: str) -> Result:
    """Run `authz envoy config`."""
    return CliRunner().invoke(app, ["envoy", "config", *arguments])


def written(*arguments: str) -> dict[str, Any]:
    """What it writes."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = yaml.safe_load(result.stdout)
    return document


def cluster(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The cluster of that name."""
    found: dict[str, Any] = next(each for each in document["static_resources"]["clusters"] if each["name"] == name)
    return found


def test_the_committed_configuration_is_current() -> None:
    """deploy/envoy.yaml is what the command writes by default; `make envoy` writes it anew."""
    assert run().stdout == (ROOT / "deploy" / "envoy.yaml").read_text()


def test_server_and_envoy_mean_the_same_cluster() -> None:
    """The endpoints file of the server is for the cluster that the filter asks."""
    assert CHECK_CLUSTER == CLUSTER


def test_the_servers_settings_are_followed(tmp_path: Path) -> None:
    """The endpoints file and the identity headers come from the configuration."""
    settings = {"listen": {"endpoints_file": "state/workers.yaml"}, "identity_headers": ["x-user"]}
    (tmp_path / "authz.yaml").write_text(yaml.safe_dump(settings))
    document = written()
    source = cluster(document, "authz")["eds_cluster_config"]["eds_config"]["path_config_source"]
    assert source["path"] == "state/workers.yaml"
    assert "- remove: x-user\n" in run().stdout


def test_options_name_listener_and_services() -> None:
    """Each upstream is a virtual host and a cluster."""
    document = written(
        "--listener", "127.0.0.1:1", "--upstream", "a.example=127.0.0.1:2", "--upstream", "*=http2://b:3"
    )
    [listener] = document["static_resources"]["listeners"]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 1}
    assert [each["name"] for each in document["static_resources"]["clusters"]] == ["authz", "a.example", "*"]


def test_that_the_services_of_the_demo_are_behind_it_is_said() -> None:
    """Who forgot --upstream would find hosts there that are none of theirs."""
    assert run().stderr == (
        "authz: no --upstream was given: behind it are the services of the demo "
        "(orders.shop.example, inventory.shop.example, web.shop.example)\n"
    )


def test_a_file_can_be_written() -> None:
    """Nothing else is printed then."""
    result = run("--output", "envoy.yaml", "--upstream", "a.example=127.0.0.1:2")
    assert result.output == ""
    assert yaml.safe_load(Path("envoy.yaml").read_text())["admin"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--upstream", "a.example"), "--upstream"),
        (("--listener", "nowhere"), "--listener"),
        (("--check", "authz:0"), "--check"),
        (("--check-identity", "foo"), "`foo` is no SPIFFE ID"),
        (("--check-identity", ""), "is no SPIFFE ID"),
        (("--upstream", "a.example=b:1", "--upstream", "A.example=c:1"), "`A.example` is given twice"),
        (("--output", "missing/envoy.yaml"), "missing/envoy.yaml cannot be written: No such file or directory"),
    ],
)
def test_a_wrong_option_is_named(arguments: tuple[str, ...], message: str) -> None:
    """Wrong usage: exit code 2, and which option it was."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_tls_needs_to_know_who_the_server_is(tmp_path: Path) -> None:
    """With `tls`, Envoy must be told whose certificate it is to find; else anybody of that authority would do."""
    (tmp_path / "authz.yaml").write_text(yaml.safe_dump({"tls": TLS}))
    refused = run()
    assert refused.exit_code == 2
    assert "--check-identity" in refused.output
    assert "transport_socket" in cluster(written("--check-identity", "spiffe://shop.example/authz"), "authz")


def test_a_bad_configuration_is_explained(tmp_path: Path) -> None:
    """Exit code 1, and the place."""
    (tmp_path / "authz.yaml").write_text("listne: 127.0.0.1:9001\n")
    result = run()
    assert result.exit_code == 1
    assert "authz.yaml:1:1" in result.output


POLICY = "kind: service\nname: {name}\nhosts: [{host}]\nrules: []\n"


def test_bodies_are_sent_of_the_hosts_whose_policies_read_them(tmp_path: Path) -> None:
    """So many bytes as the configuration has; other hosts need not wait for theirs."""
    (tmp_path / "policies").mkdir()
    for name, host, more in (("a", '"*.shop.example"', "body: json\n"), ("b", "b.example", "")):
        (tmp_path / "policies" / f"{name}.yaml").write_text(POLICY.format(name=name, host=host) + more)
    (tmp_path / "authz.yaml").write_text("bodies: {max: 64KiB}\nmetadata: {namespaces: [a.b]}\n")
    upstreams = [f"--upstream={host}=127.0.0.1:80" for host in ("x.shop.example", "b.example", "*")]
    [listener] = written(*upstreams)["static_resources"]["listeners"]
    assert listener["per_connection_buffer_limit_bytes"] > 65_537
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    config = manager["http_filters"][0]["typed_config"]
    assert config["with_request_body"] == {
        "max_request_bytes": 65_537,
        "allow_partial_message": True,
        "pack_as_bytes": True,
    }
    assert config["metadata_context_namespaces"] == ["a.b"]
    sent = {"context_extensions": {"max_request_bytes": "65537"}}
    settings = [
        host["typed_per_filter_config"]["envoy.filters.http.ext_authz"]["check_settings"]
        for host in manager["route_config"]["virtual_hosts"]
    ]
    assert settings == [sent, {"disable_request_body_buffering": True}, sent]


def test_where_no_policy_reads_bodies_envoy_waits_for_none(tmp_path: Path) -> None:
    """Nothing of the filter is changed, and neither where there are no policies."""
    without = written()
    assert "with_request_body" not in str(without)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "b.yaml").write_text(POLICY.format(name="b", host="b.example"))
    assert written() == without


@pytest.mark.parametrize(("more", "action"), [("", "REJECT_REQUEST"), ("paths: lenient\n", "KEEP_UNCHANGED")])
def test_escaped_slashes_are_let_through_where_paths_are_lenient(tmp_path: Path, more: str, action: str) -> None:
    """Else Envoy refuses them, as we would."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "b.yaml").write_text(POLICY.format(name="b", host="b.example") + more)
    [listener] = written()["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["path_with_escaped_slashes_action"] == action


def test_policies_with_errors_are_told(tmp_path: Path) -> None:
    """What they read is not known then."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "b.yaml").write_text("kind: servise\n")
    result = run("--policies", "mine")
    assert result.exit_code == 1
    assert "mine/b.yaml:1:7" in result.output
