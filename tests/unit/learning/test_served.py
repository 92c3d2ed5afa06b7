"""What a service in audit mode really records is enough to learn from, and what is learned serves the same requests."""

from pathlib import Path

from authz_server.audit.record import encode
from authz_server.audit.redaction import Redaction
from authz_server.identity.settings import IdentitySettings
from authz_server.learning.files import check as check_files
from authz_server.learning.files import files_of
from authz_server.learning.observations import Observations
from authz_server.learning.service import Wishes, learn_services
from authz_server.model import Request
from authz_server.pipeline import check
from authz_server.policy.loader import load_policies
from tests.builders import plan_of, request, snapshot_of

NOW = 1_772_442_000.25
AUDIT = "kind: service\nname: orders\nhosts: ['*']\nmode: audit\nrules: []\n"
WEB, APP = "spiffe://shop.example/ns/front/sa/web", "spiffe://shop.example/ns/front/sa/app"
HOST = "orders.shop.example"
GRPC = {"content-type": "application/grpc+proto"}
UPGRADE = {"upgrade": "websocket", "connection": "upgrade"}
ASKED = [
    *(request(path=f"/orders/{n}?page=2", workload=WEB) for n in range(3)),
    request("POST", "/orders", workload=WEB, host=f"{HOST}:8443"),
    request("POST", "/orders.v1.Refunds/Create", workload=APP, headers=GRPC),
    request(path="/events", workload=APP, headers=UPGRADE),
    request(path="/caf%C3%A9/menu", workload=APP),
    request(path="/archive/", workload=APP),
]
OTHERS = [
    request("DELETE", "/orders/1", workload=WEB),
    request(path="/orders/x", workload=WEB),
    request(path="/orders/1", workload=APP),
    request("POST", "/orders.v1.Refunds/Create", workload=APP),
    request(path="/events", workload=APP),
    request(path="/archive", workload=APP),
    request(path="/orders/1"),
    request(path="/orders/1", workload=WEB, host="other.shop.example"),
]


def test_requests_in_audit_are_allowed_by_what_is_learned_of_them(tmp_path: Path) -> None:
    """By the engine that serves, and none that differs in one thing."""
    in_audit = snapshot_of(plan_of(tmp_path / "audit", orders=AUDIT))

    def line(asked: Request) -> bytes:
        decision = check(asked, in_audit, NOW)
        assert (decision.allowed, decision.would_deny) == (True, True)
        return encode(decision, worker=0, latency_us=1, redaction=Redaction((), b"k")) + b"\n"

    observations = Observations(None, None, allow_anonymous=False)
    observations.take(map(line, ASKED))
    assert not observations.left
    services, directory = learn_services(observations, Wishes(min_count=1)), tmp_path / "learned"
    files = files_of(services, directory)
    assert check_files(files, directory, services, {}, None, IdentitySettings(), NOW).good
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    plan = load_policies(directory).plan
    assert plan is not None
    learned = snapshot_of(plan)
    assert {check(asked, learned, NOW).reason for asked in ASKED} == {"allowed"}
    assert not any(check(asked, learned, NOW).allowed for asked in OTHERS)
