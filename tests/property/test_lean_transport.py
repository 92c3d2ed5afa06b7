"""Whatever bytes come to the lean transport, in whatever pieces, and however a real client interleaves its calls."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from authz_server.worker.lean.connection import Connection
from authz_server.worker.lean.field_blocks import KnownBlocks
from authz_server.worker.lean.streams import Held
from tests.fuzz_lean.dialogue import talk
from tests.fuzz_lean.fuzzer import check, serve
from tests.fuzz_lean.reference import PREFACE
from tests.fuzz_lean.traffic import Traffic, frame, traffic
from tests.unit.worker.lean.wire import GOOD, echo, framed, read_frames

FRAMES = st.builds(
    frame,
    st.integers(0, 11),
    st.sampled_from((0, 1, 4, 5, 8, 9, 12, 13, 32, 36, 44, 255)),
    st.sampled_from((0, 1, 1, 3, 5, 7, 2**31 - 1, 2**31 + 1)),
    st.one_of(
        st.just(GOOD), st.just(framed(b"m")), st.binary(max_size=60), st.sampled_from((b"", b"\0" * 4, b"\0" * 8))
    ),
)


def outcome(pieces: list[bytes]) -> tuple[bytes, bool]:
    """All that is sent, and whether the connection has failed."""
    connection = Connection(echo, KnownBlocks(), Held(), lambda: 0.0)
    for piece in pieces:
        connection.receive(piece)
    return b"".join(connection.outgoing.frames), connection.failed is not None


@given(st.lists(FRAMES, max_size=12))
def test_any_frames_are_answered_as_they_should_be(said: list[bytes]) -> None:
    """Nothing is raised, no call is taken that was not made, and what is sent are whole frames."""
    check(Traffic([PREFACE, frame(4, 0, 0), *said], honest=False), Random(0))  # noqa: S311


@given(st.binary(max_size=400))
def test_any_bytes_are_answered_with_frames(said: bytes) -> None:
    """With and without the preface."""
    for pieces in ([said], [PREFACE, said], [PREFACE, frame(4, 0, 0), said]):
        list(read_frames(outcome(pieces)[0]))


@given(st.integers(0, 2**32), st.data())
def test_the_same_bytes_in_other_pieces_have_the_same_outcome(seed: int, data: st.DataObject) -> None:
    """Byte for byte, wherever the pieces end."""
    said = b"".join(traffic(Random(seed)).parts)[:200_000]  # noqa: S311
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=20)))
    pieces = [said[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    assert outcome(pieces) == outcome([said])


@given(st.integers(0, 2**32))
def test_a_client_of_another_library_gets_each_of_its_answers(seed: int) -> None:
    """h2 makes calls of any sizes that interleave, gives some up, and hears nothing that it does not understand."""
    talk(Random(seed))  # noqa: S311


@settings(max_examples=5)
@given(st.integers(0, 2**32))
def test_one_byte_at_a_time_is_enough(seed: int) -> None:
    """However slowly a client speaks."""
    said = b"".join(traffic(Random(seed)).parts)[:20_000]  # noqa: S311
    assert outcome([said[at : at + 1] for at in range(len(said))]) == outcome([said])
    serve([said])
