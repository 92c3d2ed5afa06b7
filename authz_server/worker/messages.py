"""What the control process and a worker say to each other: one MessagePack object each, behind its length."""

from typing import Literal

import msgspec
from msgspec import Struct

from authz_server.identity.api_keys import ApiKey
from authz_server.identity.revocations import Revocations
from authz_server.identity.settings import IdentitySettings
from authz_server.policy.packing import PackedPlan
from authz_server.policy.rollout import Rollout
from authz_server.request.body import DEFAULT_MAX_BYTES
from authz_server.telemetry.logs import Format, Level
from authz_server.worker.address import Address

FINGERPRINT = "sha256:"
"""Stands before a certificate's fingerprint where `tls.clients` names one."""
ORPHAN_GRACE_S = 8.0
"""How long a worker whose control process is gone may take to finish its calls."""
WORKER_NAME, SPARE_NAME = "authz-worker-", "authz-spare"
"""What `ps` shows of the process of a worker, with its slot; and of one that waits to become a worker."""
TransportName = Literal["lean", "grpcio"]
"""Who speaks gRPC: we, with a proxy on the same machine, or grpcio."""
LENGTH_BYTES = 4
"""Each message stands behind its length: unsigned, big-endian."""


class WorkerTls(Struct, frozen=True):
    """TLS of the Check listener: paths of PEM files, and who may call."""

    certificate: str
    key: str
    client_ca: str | None = None
    clients: tuple[str, ...] = ()
    """SPIFFE patterns, and fingerprints in lower-case hexadecimal behind `sha256:`."""


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """Everything that a worker needs to know before its first snapshot."""

    slot: int
    address: Address
    shared: bool = False
    """Other workers listen on the same address."""
    socket_mode: int | None = None
    socket_group: int | None = None
    """Number of the group that owns a Unix socket."""
    tls: WorkerTls | None = None
    transport: TransportName = "grpcio"
    core: int | None = None
    """The core to stay on."""
    ring: str
    """Path of the ring that takes the records of decisions."""
    replays: str | None = None
    """Path of the table of DPoP proofs that were used; None where no proofs are taken."""
    metrics_directory: str
    identity: IdentitySettings
    max_body: int = DEFAULT_MAX_BYTES
    """The bytes of the largest body that rules read."""
    metadata: tuple[str, ...] = ()
    """Namespaces of metadata that rules may read."""
    secrets: tuple[str, ...] = ()
    """Inputs that are recorded as keyed hashes."""
    hash_key: bytes
    failures_are_errors: bool = False
    """The proxy gets a failure of ours as an error rather than a denial."""
    log_level: Level
    log_format: Format


class Start(Struct, frozen=True, tag=True):
    """The first message to a worker."""

    settings: WorkerSettings


class SigningKeys(Struct, frozen=True):
    """A JWK Set of private keys. Secret, and so it does not show itself."""

    document: bytes

    def __repr__(self) -> str:
        return "SigningKeys()"


class PackedCandidate(Struct, frozen=True):
    """A candidate as it is sent."""

    plan: PackedPlan | None
    """None: that of the snapshot before."""
    sample: int
    """The percentage of checks about which it is asked."""
    rollout: Rollout | None = None


class Prepare(Struct, frozen=True, tag=True):
    """Build a snapshot and keep it aside."""

    generation: int
    plan: PackedPlan | None
    """None: the policies of the snapshot before."""
    keys: dict[str, bytes]
    """JWKS documents by the issuer's name in the configuration; an issuer without keys has an empty set."""
    bundles: dict[str, bytes]
    """PEM certificates by trust domain."""
    revocations: Revocations | None = None
    api_keys: tuple[ApiKey, ...] = ()
    signing_keys: SigningKeys | None = None
    """Of upstream tokens; None where there are no such tokens."""
    stale: bool = False
    """The policies are those of an earlier run, because their directory is broken: records say so."""
    candidate: PackedCandidate | None = None
    """None where there is none."""


class Activate(Struct, frozen=True, tag=True):
    """Decide with the prepared snapshot from now on."""

    generation: int


class Ping(Struct, frozen=True, tag=True):
    """Asks whether the worker is alive."""

    number: int


class Drain(Struct, frozen=True, tag=True):
    """Say NOT_SERVING, finish the calls in flight, exit."""

    grace_s: float


class Listen(Struct, frozen=True, tag=True):
    """Take calls from now on: whoever has asked a predecessor goes on asking at once."""


class Begun(Struct, frozen=True, tag=True):
    """The worker can be what its settings say."""


class Listening(Struct, frozen=True, tag=True):
    """The worker has bound its address; port 0 has become the real one."""

    address: Address


class Broken(Struct, frozen=True, tag=True):
    """The worker cannot start: why, for people. It exits."""

    problem: str


class Prepared(Struct, frozen=True, tag=True):
    """The snapshot of this generation is ready."""

    generation: int


class Failed(Struct, frozen=True, tag=True):
    """The snapshot of this generation cannot be built; the one in use stays."""

    generation: int
    problem: str


class Activated(Struct, frozen=True, tag=True):
    """The snapshot of this generation decides."""

    generation: int


class Pong(Struct, frozen=True, tag=True):
    """The answer to the ping with this number."""

    number: int


class UnknownKey(Struct, frozen=True, tag=True):
    """A token of this issuer named a key that is not in its set."""

    issuer: str


ToWorker = Start | Listen | Prepare | Activate | Ping | Drain
ToControl = Begun | Listening | Broken | Prepared | Failed | Activated | Pong | UnknownKey

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_to_control: msgspec.msgpack.Decoder[ToControl] = msgspec.msgpack.Decoder(ToControl)


def frame(message: ToWorker | ToControl) -> bytes:
    """The message as it is sent."""
    payload = _encoder.encode(message)
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def read_by_worker(payload: bytes | bytearray) -> ToWorker:
    """The message in a frame's payload; large parts of it are views. Raises msgspec.MsgspecError."""
    return _to_worker.decode(payload)


def read_by_control(payload: bytes) -> ToControl:
    """The message in a frame's payload. Raises msgspec.MsgspecError."""
    return _to_control.decode(payload)
