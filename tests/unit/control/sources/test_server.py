"""A running server follows the policies of its source."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.dev.waiting import wait_until
from authz_server.errors import GrpcCode
from tests.unit.control.server_process import PATIENCE_S, Served, run_to_its_end
from tests.unit.control.sources.bundles import (
    FIRST,
    OTHER_KEY,
    SECOND,
    FileServer,
    bundle_of,
    file_server,
    numbered,
    write_public_key,
)
from tests.unit.control.sources.git_server import Repository, git_server
from tests.unit.control.sources.registry import registry_server

OK, DENIED = {GrpcCode.OK}, {GrpcCode.PERMISSION_DENIED}


@pytest.fixture(name="server")
def _server() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


@pytest.fixture(name="served")
def _served(tmp_path: Path, server: FileServer) -> Served:
    served = Served(tmp_path)
    write_public_key(tmp_path / "bundle.pub")
    source = {"http": {"url": f"{server.url}/policies.tar.gz", "keys": ["bundle.pub"]}, "poll": "1s"}
    served.prepare(policies={"source": source, "rescan": "1h"})
    return served


def test_a_server_follows_its_source(served: Served, server: FileServer) -> None:
    """A change, a bundle of another key, a restart without the source, and with another number."""
    server.has(bundle_of(numbered(FIRST, 2)))
    with served.running():
        wait_until(lambda: served.events("policies_loaded") != [], PATIENCE_S, "the start")
        # From the start, not after it.
        assert [event["generation"] for event in served.events("policies_loaded")] == [1]
        assert (served.code("GET"), served.code("PUT")) == (OK, DENIED)
        server.has(bundle_of(numbered(SECOND, 3)))
        wait_until(lambda: served.code("PUT") == OK, PATIENCE_S, "the second policies")
        assert served.code("GET") == DENIED
        wait_until(lambda: served.events("policies_reloaded") != [], PATIENCE_S, "the report")
        [reloaded] = served.events("policies_reloaded")
        server.has(bundle_of(FIRST, OTHER_KEY))
        wait_until(lambda: served.readiness()["degraded"] != [], PATIENCE_S, "it to be told")
        assert "is refused: the bundle cannot be taken: it is signed by the key" in served.readiness()["degraded"][0]
        assert served.code("PUT") == OK
    server.stop()
    with served.running():
        assert (served.code("GET"), served.code("PUT")) == (DENIED, OK)
        state = served.readiness()
        assert (state["status"], state["policies"]["revision"]) == ("degraded", reloaded["revision"])
        assert state["policies"]["stale_from"] is None
        assert state["policies"]["source"]["failing_since"] is not None
        assert state["policies"]["source"]["place"] == server.url
        assert 'authz_policy_fetches_total{result="failed"}' in served.get("/metrics").text
        server.start()
        server.has(bundle_of(numbered(FIRST, 1)))
        wait_until(lambda: "older_policies" in str(served.readiness()), PATIENCE_S, "the replay to be told")
        server.has(bundle_of(numbered(FIRST, 4)))
        wait_until(lambda: served.code("GET") == OK, PATIENCE_S, "the first policies again")
        wait_until(lambda: served.readiness()["status"] == "ready", PATIENCE_S, "everything to be well")


def test_a_server_without_policies_says_where_they_should_be(served: Served, server: FileServer) -> None:
    """It is not ready, and is so as soon as they are there: SIGHUP looks at once."""
    with served.running(ready=False):
        wait_until(lambda: served.events("serving") != [], PATIENCE_S, "the start")
        state = served.readiness()
        assert state["status"] == "not_ready"
        assert "nothing_fetched" in state["missing"][0]
        assert f"{server.host}: the answer has status 404; there are none yet" in state["degraded"][0]
        server.has(bundle_of(FIRST))
        served.signal(signal.SIGHUP)
        wait_until(lambda: served.readiness()["status"] == "ready", PATIENCE_S, "the policies")
        assert served.code("GET") == OK


def test_broken_policies_are_refused_like_an_edit(served: Served, server: FileServer) -> None:
    """Whoever has signed them."""
    server.has(bundle_of(FIRST))
    with served.running():
        server.has(bundle_of({"orders.yaml": "kind: service\nname: orders\n"}))
        wait_until(lambda: served.events("policies_refused") != [], PATIENCE_S, "the refusal")
        assert served.code("GET") == OK
        assert "2 problems" in " ".join(served.readiness()["degraded"])
    with served.running():
        assert served.code("GET") == OK
        assert served.readiness()["policies"]["stale_from"] is not None


def test_the_commands_read_what_was_fetched(served: Served, server: FileServer) -> None:
    """And there is nothing to roll back to here."""
    server.has(bundle_of(FIRST))
    with served.running():
        revision = served.readiness()["policies"]["revision"]
    done = CliRunner().invoke(app, ["revisions", "--json", "--config", str(served.config)])
    assert [(row["revision"], row["in_directory"]) for row in json.loads(done.output)["revisions"]] == [
        (revision, True)
    ]
    done = CliRunner().invoke(app, ["validate", "--config", str(served.config)])
    assert revision in done.output
    for command in (["rollback", revision], ["candidate", "promote"]):
        done = CliRunner().invoke(app, [*command, "--config", str(served.config)])
        assert done.exit_code == 1
        assert f"the policies come from {server.url}" in done.output
        assert "nothing was changed" in done.output
        done = CliRunner().invoke(app, [*command, "--json", "--config", str(served.config)])
        assert [each["code"] for each in json.loads(done.stdout)["refused"]] == ["policies_are_fetched"]


def test_a_key_that_is_trusted_no_longer_takes_its_policies_along(served: Served, server: FileServer) -> None:
    """Those that have decided before, too."""
    server.has(bundle_of(FIRST))
    with served.running():
        assert served.code("GET") == OK
    server.stop()
    write_public_key(served.directory / "bundle.pub", OTHER_KEY)
    # The first start may have ended before it was told.
    told = len(served.events("serving"))
    with served.running(ready=False):
        wait_until(lambda: len(served.events("serving")) > told, PATIENCE_S, "the second start")
        assert served.readiness()["status"] == "not_ready"
        [dropped] = served.events("fetched_policies_dropped")
        assert "which is trusted no longer" in dropped["problem"]
    server.start()


def test_a_server_follows_an_image(tmp_path: Path) -> None:
    """With a token for which it shows its password."""
    served = Served(tmp_path)
    write_public_key(tmp_path / "bundle.pub")
    (tmp_path / "password").write_text("secret\n")
    with registry_server() as registry:
        registry.wants, registry.challenge = "Bearer t", f'Bearer realm="{registry.url}/token",service="here"'
        registry.gives_tokens("t")
        registry.push(FIRST)
        oci = {"image": registry.image, "keys": ["bundle.pub"], "username": "ann", "password_file": "password"}
        served.prepare(policies={"source": {"oci": oci, "poll": "1s"}})
        with served.running():
            assert served.code("GET") == OK
            digest = registry.push(SECOND)
            wait_until(lambda: served.code("PUT") == OK, PATIENCE_S, "the second policies")
            assert served.readiness()["policies"]["source"]["version"] == digest
            assert served.readiness()["policies"]["source"]["place"] == registry.image


def test_a_server_follows_a_repository(tmp_path: Path) -> None:
    """The commit is what it tells of."""
    served = Served(tmp_path)
    repository = Repository(tmp_path / "served" / "policies.git")
    repository.commit({"shop/orders.yaml": FIRST["orders.yaml"]})
    with git_server(repository.directory.parent) as server:
        git = {"url": f"{server.url}/policies.git", "path": "shop"}
        served.prepare(policies={"source": {"git": git, "poll": "1s"}})
        with served.running():
            assert served.code("GET") == OK
            commit = repository.commit({"shop/orders.yaml": SECOND["orders.yaml"]})
            wait_until(lambda: served.code("PUT") == OK, PATIENCE_S, "the second policies")
            assert served.readiness()["policies"]["source"]["version"] == commit
    with served.running():
        assert served.code("PUT") == OK
        assert "git says: fatal: unable to access" in str(served.readiness()["degraded"])


def test_without_keys_there_is_no_start(served: Served) -> None:
    """Nothing could be verified."""
    (served.directory / "bundle.pub").write_text("no key")
    done = run_to_its_end(served.config)
    assert done.returncode != 0
    assert "bundle.pub: it is no public Ed25519 key in PEM" in done.stderr
