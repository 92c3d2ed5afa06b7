"""The whole server as a process: what operators see of it."""

import asyncio
import os
import signal
import stat
from collections.abc import Iterator
from importlib.metadata import version
from threading import Thread

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from authz_server.control.server import _until
from authz_server.dev.ca import create_ca
from authz_server.dev.waiting import wait_until
from authz_server.errors import GrpcCode
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from authz_server.worker.address import UnixAddress
from tests.unit.control.fleet import CHECK, request
from tests.unit.control.server_process import PATIENCE_S, POLICY, Served, run_to_its_end


@pytest.fixture(name="served", scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests that do not end it; what they edit they undo."""
    served = Served(tmp_path_factory.mktemp("served"))
    served.prepare(
        listen={"address": "unix:sockets/check-{worker}.sock", "socket": {"mode": "0660"}},
        probes={"listen": "unix:probes.sock"},
    )
    with served.running():
        yield served


def test_it_is_alive_and_ready(served: Served) -> None:
    """`/readyz` says by which revision it decides, and with how many workers."""
    assert served.get("/livez").text == "ok\n"
    state = served.readiness()
    assert state["status"] == "ready"
    assert state["workers"] == {"serving": 2, "configured": 2}
    assert len(state["policies"]["revision"]) == 32


def test_the_probes_address_shows_nothing_else(served: Served) -> None:
    """A kubelet needs no metrics."""
    assert served.get("/livez", "probes.sock").status == 200
    assert served.get("/readyz", "probes.sock").status == 200
    assert served.get("/metrics", "probes.sock").status == 404


def test_each_worker_decides_at_its_own_endpoint(served: Served) -> None:
    """The endpoints file names a socket for each."""
    directory = served.directory / "sockets"
    assert served.endpoints() == [UnixAddress(f"{directory}/check-{slot}.sock") for slot in (0, 1)]
    assert served.code("GET") == {GrpcCode.OK}
    assert served.code("PUT") == {GrpcCode.PERMISSION_DENIED}


def test_a_socket_is_open_to_whom_the_settings_say(served: Served) -> None:
    """Its mode is the configured one."""
    mode = (served.directory / "sockets" / "check-0.sock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o660


def test_decisions_are_recorded(served: Served) -> None:
    """Each has a line in the audit file, within moments."""
    before = len(served.decisions())
    served.code("GET")
    wait_until(lambda: len(served.decisions()) >= before + 2, PATIENCE_S, "two records")
    assert {record["worker"] for record in served.decisions()[before:]} == {0, 1}


def test_metrics_sum_the_workers(served: Served) -> None:
    """And say how many of them there are."""
    served.code("GET")
    families = {family.name: family for family in text_string_to_metric_families(served.get("/metrics").text)}
    allowed = [s.value for s in families["authz_decisions"].samples if s.labels["reason"] == "allowed"]
    assert sum(allowed) >= 2
    assert {s.labels["state"]: s.value for s in families["authz_workers"].samples} == {"serving": 2, "starting": 0}


def test_an_edit_is_effective_within_moments(served: Served) -> None:
    """On all workers; a bad one changes nothing and is explained where it happened."""
    good = served.policies.read_text()
    revision = served.readiness()["policies"]["revision"]
    try:
        served.policies.write_text(good.replace("GET", "PUT"))
        wait_until(lambda: served.code("PUT") == {GrpcCode.OK}, PATIENCE_S, "the edit")
        served.policies.write_text(good.replace("effect", "efect"))
        wait_until(lambda: served.readiness()["policies"]["problems"] > 0, PATIENCE_S, "the bad edit")
        assert served.readiness()["status"] == "degraded"
        assert served.code("PUT") == {GrpcCode.OK}
        problem = served.events("policy_problem")[-1]["problem"]
        assert problem.startswith(f"{served.policies}:")
        assert "unknown field `efect`" in problem
    finally:
        served.policies.write_text(good)
    wait_until(lambda: served.readiness()["policies"]["revision"] == revision, PATIENCE_S, "the old policies")
    assert served.readiness()["policies"]["problems"] == 0


def test_sighup_looks_again(served: Served) -> None:
    """For those who want to be sure: the log has an answer, also where nothing has changed."""
    endpoints = served.directory / "run" / "endpoints.yaml"
    endpoints.unlink()
    served.signal(signal.SIGHUP)
    wait_until(lambda: served.events("policies_unchanged") != [], PATIENCE_S, "the answer")
    wait_until(endpoints.exists, PATIENCE_S, "the endpoints file that somebody has removed")
    assert served.events("reload_requested") != []
    assert served.events("policies_unchanged")[-1]["revision"] == served.readiness()["policies"]["revision"]
    assert served.readiness()["status"] == "ready"


def test_sighup_does_not_end_a_server_that_starts(other: Served) -> None:
    """It comes before the configuration has been read, which the test holds up."""
    settings = other.config.read_text()
    other.config.unlink()
    os.mkfifo(other.config)

    def tell() -> None:
        with other.config.open("w") as configuration:
            other.signal(signal.SIGHUP)
            configuration.write(settings)

    # Opening it waits for the server, which waits for what is written.
    telling = Thread(target=tell, daemon=True)
    telling.start()
    with other.running():
        assert other.readiness()["status"] == "ready"
    telling.join()


def test_a_second_server_is_told_who_has_the_directory(served: Served) -> None:
    """It exits with 1 and names the process."""
    assert served.process is not None
    second = run_to_its_end(served.config)
    assert second.returncode == 1
    assert f"is in use by another authz server (process {served.process.pid})" in second.stderr


def test_a_second_server_cannot_take_the_sockets(served: Served, other: Served) -> None:
    """Their directory is locked as well, whatever else differs."""
    other.prepare(listen=f"unix:{served.directory}/sockets/check-{{worker}}.sock")
    second = run_to_its_end(other.config)
    assert second.returncode == 1
    assert "sockets is in use by another authz server" in second.stderr
    assert served.code() == {GrpcCode.OK}


def test_a_second_server_cannot_take_the_endpoints_file(served: Served, other: Served) -> None:
    """Or else Envoy would ask that one, and after its end nobody."""
    endpoints = served.directory / "run" / "endpoints.yaml"
    before = endpoints.read_bytes()
    other.prepare(listen={"address": "127.0.0.1:0", "endpoints_file": str(endpoints)})
    second = run_to_its_end(other.config)
    assert second.returncode == 1
    assert f"authz: listen.endpoints_file: {endpoints} is in use by another authz server" in second.stderr
    assert endpoints.read_bytes() == before


def test_an_admin_address_that_is_taken_is_named(served: Served, other: Served) -> None:
    """And nothing is left running."""
    other.prepare(admin={"listen": f"unix:{served.directory}/admin.sock"})
    second = run_to_its_end(other.config)
    assert second.returncode == 1
    assert "admin.sock: another program listens there" in second.stderr


def test_workers_can_share_one_address(other: Served) -> None:
    """The kernel spreads connections over them; the endpoints file names it once."""
    with other.running():
        [port] = {address.port for address in other.endpoints()[:1] if not isinstance(address, UnixAddress)}
    other.prepare(listen={"address": f"127.0.0.1:{port}", "endpoints": "shared"})
    with other.running():
        assert len(other.endpoints()) == 1

        def both_have_answered() -> bool:
            other.code()
            return {record["worker"] for record in other.decisions()} == {0, 1}

        (other.directory / "audit" / "decisions.jsonl").write_text("")
        wait_until(both_have_answered, PATIENCE_S, "both workers")


def test_a_dark_issuer_is_named(other: Served) -> None:
    """Not ready where it is required, degraded where it is not."""
    issuers = {
        name: {"issuer": f"https://{name}/", "audiences": ["a"], "keys": {"file": "none.json"}, "required": name == "b"}
        for name in ("a", "b")
    }
    other.prepare(issuers=issuers)
    with other.running(ready=False):
        wait_until(lambda: other.readiness()["policies"]["revision"] is not None, PATIENCE_S, "the policies")
        state = other.readiness()
    assert state["status"] == "not_ready"
    assert state["missing"] == ["issuer b has no keys"]
    assert "issuer a has no keys" in state["degraded"]


def test_a_bad_configuration_is_explained(other: Served) -> None:
    """With its place; the exit code is 1."""
    other.config.write_text("wrokers: 2\n")
    ended = run_to_its_end(other.config)
    assert ended.returncode == 1
    assert "authz.yaml:1:1: unknown field `wrokers`" in ended.stderr


def test_an_unknown_group_is_named(other: Served) -> None:
    """Before anything is started."""
    other.prepare(listen={"address": "unix:c-{worker}", "socket": {"group": "no-such-group"}})
    ended = run_to_its_end(other.config)
    assert ended.returncode == 1
    assert ended.stderr.strip() == "authz: listen.socket.group: there is no group `no-such-group` on this machine"


def test_a_directory_that_cannot_be_written_is_named(other: Served) -> None:
    """In one line."""
    (other.directory / "file").write_text("")
    other.prepare(run_directory="file")
    ended = run_to_its_end(other.config, {"AUTHZ_LOG__LEVEL": "error"})
    assert ended.returncode == 1
    assert ended.stderr == f"authz: run_directory: {other.directory}/file: File exists\n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"audit": {"file": {"path": "authz.yaml/a.jsonl"}}}, "audit.file.path: {}/authz.yaml: File exists"),
        (
            {"tls": {"certificate": "authz.yaml", "key": "none"}},
            "tls.key: {}/none cannot be read: No such file or directory",
        ),
        (
            {"tls": {"certificate": "authz.yaml", "key": "authz.yaml"}},
            "tls.certificate: {}/authz.yaml holds no certificate; write the chain as PEM, the server's first",
        ),
        ({"admin": {"listen": "unix:none/a.sock"}}, "admin.listen: cannot listen on unix:{}/none/a.sock: "),
        ({"run_directory": "authz.yaml/run"}, "run_directory: {}/authz.yaml/run: Not a directory"),
    ],
)
def test_what_cannot_be_had_is_told_with_its_key(other: Served, settings: dict[str, object], message: str) -> None:
    """In the one line that the server writes."""
    other.prepare(**settings)
    ended = run_to_its_end(other.config)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("authz: " + message.format(other.directory))


def test_a_server_whose_workers_cannot_start_has_nothing_to_drain(other: Served) -> None:
    """It says why, and not that it was running."""
    (other.directory / "check-0.sock").mkdir()
    other.prepare(listen="unix:check-{worker}.sock")
    ended = run_to_its_end(other.config)
    assert ended.returncode == 1
    assert "authz: " in ended.stderr
    assert "draining" not in ended.stderr


def test_the_start_is_logged_with_its_addresses(served: Served) -> None:
    """And by which configuration."""
    # The server is ready a moment before.
    wait_until(lambda: len(served.events("serving")) == 1, PATIENCE_S, "the line")
    [line] = served.events("serving")
    assert line["addresses"] == [str(address) for address in served.endpoints()]
    assert line["admin"] == f"unix:{served.directory}/admin.sock"
    assert line["configuration"] == str(served.config)
    assert line["version"] == version("authz-server")


def test_the_policy_of_these_tests_is_what_runs(served: Served) -> None:
    """Nobody has left an edit behind."""
    assert served.policies.read_text().split() == POLICY.split()
    assert os.access(served.directory / "run" / "hash.key", os.R_OK)
    assert stat.S_IMODE((served.directory / "run" / "hash.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(("identity", "code"), [("envoy/edge", GrpcCode.OK), ("web", GrpcCode.PERMISSION_DENIED)])
def test_over_mtls_only_those_who_are_named_are_answered(other: Served, identity: str, code: GrpcCode) -> None:
    """Anybody else whose certificate the client CA signed is denied, in an answer and not by an error."""
    ca = create_ca("shop.example")
    svid = ca.issue("spiffe://shop.example/authz", dns_names=["authz"])
    for name, text in (("ca.pem", ca.bundle_pem), ("server.pem", svid.certificate_pem), ("server.key", svid.key_pem)):
        (other.directory / name).write_text(text)
    tls = {"certificate": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
    other.prepare(workers=1, tls={**tls, "clients": ["spiffe://shop.example/envoy/**"]})
    caller = ca.issue(f"spiffe://shop.example/{identity}")
    credentials = grpc.ssl_channel_credentials(
        ca.bundle_pem.encode(), caller.key_pem.encode(), caller.certificate_pem.encode()
    )
    with other.running():
        [address] = other.endpoints()
        options = [("grpc.ssl_target_name_override", "authz")]
        with grpc.secure_channel(str(address), credentials, options) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
            answer = CheckResponse.FromString(call(request().SerializeToString(), timeout=PATIENCE_S))
    assert answer.status.code == code
    reason = None if code is GrpcCode.OK else "workload_refused"
    assert other.decisions()[-1]["reason"] == (reason or "allowed")


def test_a_server_whose_audit_ends_ends_with_it() -> None:
    """It would fill up unseen, and then deny everything."""

    async def scenario() -> None:
        ended = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async def audit() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await _until(asyncio.Event(), work(), asyncio.create_task(audit()))
        assert ended.is_set()

    asyncio.run(scenario())
