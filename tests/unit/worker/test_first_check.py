"""The first check that a worker answers."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from authz_server.dev.ca import create_ca
from authz_server.dev.issuer import create_issuer
from authz_server.errors import GrpcCode
from authz_server.identity.settings import IdentitySettings, Issuer, TrustDomain
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from authz_server.policy.packing import pack
from authz_server.worker.address import TcpAddress
from authz_server.worker.messages import Activate, Prepare, Start, ToWorker, WorkerSettings, frame
from tests.builders import plan_of

POLICY = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: alice-reads
        effect: allow
        from: [{users: {issuer: corp}, workloads: ["spiffe://shop.example/web"]}]
        to: [{methods: [GET]}]
        when: user.subject.startsWith("a") && now > timestamp("2020-01-01T00:00:00Z")
"""
ISSUER = "https://login.example/"
PROGRAM = """
import json, sys
from pathlib import Path
import authz_server.worker.main
from authz_server.envoy.service import CheckService
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from authz_server.worker.messages import LENGTH_BYTES, read_by_worker
from authz_server.worker.snapshots import Snapshots

class Context:
    def time_remaining(self):
        return None

directory = Path(sys.argv[1])
start, prepare, activate = (
    read_by_worker((directory / name).read_bytes()[LENGTH_BYTES:]) for name in ("start", "prepare", "activate")
)
snapshots = Snapshots(start.settings, lambda issuer: None)
snapshots.prepare(prepare)
service = CheckService(lambda decision, latency_us: None)
service.snapshot = snapshots.activate(activate.generation)
before = set(sys.modules)
answer = CheckResponse.FromString(service.check((directory / "request").read_bytes(), Context()))
print(json.dumps({"code": answer.status.code, "loaded": sorted(set(sys.modules) - before)}))
"""


def test_the_first_check_loads_nothing(tmp_path: Path) -> None:
    """A token, a certificate and a condition need nothing that was not loaded before the worker served."""
    ca, issuer = create_ca("shop.example"), create_issuer()
    identity = IdentitySettings(
        issuers=(Issuer("corp", ISSUER, ("shop",)),), trust_domains=(TrustDomain("shop.example", verify=True),)
    )
    settings = WorkerSettings(
        slot=0,
        address=TcpAddress("127.0.0.1", 0),
        ring="",
        metrics_directory="",
        identity=identity,
        hash_key=b"k" * 32,
        log_level="error",
        log_format="json",
    )
    keys, bundles = json.dumps(issuer.jwks()).encode(), ca.bundle_pem.encode()
    prepare = Prepare(1, pack(plan_of(tmp_path / "policies", orders=POLICY)), {"corp": keys}, {"shop.example": bundles})
    messages: dict[str, ToWorker] = {"start": Start(settings), "prepare": prepare, "activate": Activate(1)}
    for name, message in messages.items():
        (tmp_path / name).write_bytes(frame(message))
    check = CheckRequest()
    source, http = check.attributes.source, check.attributes.request.http
    source.principal = "spiffe://shop.example/web"
    source.certificate = quote(ca.issue(source.principal).certificate_pem)
    http.method, http.path, http.host = "GET", "/orders/1", "orders.shop.example"
    http.headers["authorization"] = f"Bearer {issuer.token(ISSUER, 'shop', {'sub': 'alice'}, timedelta(minutes=5))}"
    (tmp_path / "request").write_bytes(check.SerializeToString())
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"code": GrpcCode.OK, "loaded": []}
