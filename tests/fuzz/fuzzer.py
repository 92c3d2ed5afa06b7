"""Random input for as long as one likes: `make fuzz`. Each case is made of its number, which is all there is to keep.

What engine and reference say of a request is the same; and whatever bytes come, there is one record, no failure inside,
status 0 exactly where a rule allowed, and no more work than is bounded by the message's length.
"""

import logging
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from random import Random

import structlog

from authz_server.control.api_keys import parse_api_keys
from authz_server.documents.load import parse
from authz_server.errors import Refused
from authz_server.identity.bundle import parse_bundle
from authz_server.identity.certificate import InvalidCertificate, parse_leaf
from authz_server.identity.dpop import ProofVerifier
from authz_server.identity.keys import parse_jwks
from authz_server.identity.settings import Dpop
from authz_server.identity.token import strict_parse
from authz_server.identity.xfcc import parse_xfcc
from authz_server.request.dpop import check_target
from authz_server.request.operation import canonical_operation
from tests.builders import request
from tests.fuzz.runner import Found
from tests.fuzz.target import Target, work_bound
from tests.reference.engine import Engine, message_of
from tests.reference.evaluator import evaluate
from tests.reference.worlds import CONDITIONS, NOW, World, ask

CORPUS = Path(__file__).parent / "corpus"
REQUESTS_PER_WORLD = 200
MESSAGES = 200
CHARACTERS = [
    *map(chr, range(0x20, 0x7F)),
    *"\0\r\n\t\x80\u202e\ud7ffé",
    "%2f",
    "%2e",
    "..",
    "//",
    "${",
    "}}",
    "&a",
    "*a",
]
READERS: dict[str, Callable[[bytes], object]] = {
    "policy": lambda data: parse(data, "fuzz.yaml"),
    "jwks": parse_jwks,
    "bundle": parse_bundle,
    "token": lambda data: strict_parse(data.decode("latin-1")),
    "proof": lambda data: _read_proof(data.decode("latin-1")),
    "certificate": lambda data: parse_leaf(data.decode("latin-1")),
    "xfcc": parse_xfcc,
    "api-keys": parse_api_keys,
}
PROOF_TOKEN, PROOF_TIME = "a.b.c", 1_772_442_000.0
"""What the proof of the corpus was made for."""
REFUSALS = (ValueError, Refused, InvalidCertificate)
"""What readers raise for what they refuse; anything else is a defect."""


def be_quiet() -> None:
    """Log nothing: a refusal is no news here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _read_proof(text: str) -> None:
    verifier = ProofVerifier(Dpop())
    read = verifier.read(text, PROOF_TOKEN, PROOF_TIME)
    check_target(read.method, read.uri, canonical_operation(request(path="/orders/1")), "https")
    verifier.prove(read, PROOF_TIME)


def run_case(seed: int) -> tuple[int, list[Found]]:
    """How many inputs a case has tried, and the defects that it has shown."""
    chance = Random(seed)  # noqa: S311 - the same case for the same seed
    found = [*_decisions(seed, chance), *_messages(seed, chance), *_readers(seed, chance)]
    return REQUESTS_PER_WORLD * 2 + MESSAGES + len(READERS) * 20, found


def _decisions(seed: int, chance: Random) -> Iterator[Found]:
    documents = World(seed).documents
    engine = Engine(documents)
    if engine.problems:
        yield Found(seed, f"a good world is refused: {engine.problems[0]}")
        return
    for _ in range(REQUESTS_PER_WORLD):
        asked = ask(chance)
        payload = message_of(asked).SerializeToString()
        answer, expected = engine.send(payload, NOW), evaluate(documents, asked, CONDITIONS)
        if answer.decided != expected or (answer.code == 0) is not (expected.reason == "allowed"):
            yield Found(seed, f"{asked}: {answer.decided} and not {expected}")
        broken = mutated(chance, payload)
        answer = engine.send(broken, NOW)
        allowed = answer.record["reason"] == "allowed" and answer.record["rule"] is not None
        if (answer.code == 0) is not allowed or answer.record["reason"] == "internal_error":
            yield Found(seed, f"{broken!r}: code {answer.code}, {answer.record}")


@lru_cache(maxsize=1)
def target() -> Target:
    """The Check that takes every credential; making one takes a while."""
    return Target()


def _messages(seed: int, chance: Random) -> Iterator[Found]:
    asked = target()
    for _ in range(MESSAGES):
        payload = mutated(chance, chance.choice(asked.messages))
        outcome = asked.send(payload)
        if (outcome.code == 0) is not outcome.allowed_by_a_rule or outcome.record["reason"] == "internal_error":
            yield Found(seed, f"{payload!r}: code {outcome.code}, {outcome.record}")
        if asked.seems_too_much(outcome, payload) and (work := asked.work(payload)) > work_bound(payload):
            yield Found(seed, f"{payload!r}: as much work as {work:.0f} usual checks")


def _readers(seed: int, chance: Random) -> Iterator[Found]:
    for name, reader in READERS.items():
        starts = [path.read_bytes() for path in sorted(CORPUS.glob(f"{name}*"))]
        for _ in range(20):
            data = mutated(chance, chance.choice(starts))
            begun = time.process_time()
            try:
                reader(data)
            except REFUSALS:
                pass
            except BaseException as error:  # noqa: BLE001  # that it is raised at all is what is looked for
                yield Found(seed, f"{name}: {type(error).__name__} for {data!r}")
            # A hundred bytes may take a microsecond; a thousand times that is a defect on any machine.
            if time.process_time() - begun > 1.0 + len(data) * 1e-5:
                yield Found(seed, f"{name}: {time.process_time() - begun:.1f} s for {data!r}")


def mutated(chance: Random, data: bytes) -> bytes:
    """A few changes: bytes flipped, cut, doubled, and interesting text put in."""
    result = bytearray(data)
    for _ in range(chance.randint(0, 4)):
        place = chance.randint(0, len(result))
        kind = chance.randrange(5)
        if kind == 0 and result:
            result[place - 1] = chance.randrange(256)
        elif kind == 1:
            del result[place : place + chance.randint(1, 8)]
        elif kind == 2:
            result[place:place] = result[place : place + chance.randint(1, 64)]
        elif kind == 3:
            text = "".join(chance.choice(CHARACTERS) for _ in range(chance.randint(1, 6)))
            result[place:place] = text.encode()
        else:
            result[place:place] = chance.choice(CHARACTERS).encode() * chance.randint(1, 200)
    return bytes(result)
