"""How a connection ends in peace (RFC 9113 section 6.8): calls that were on their way are answered, no later ones."""

from authz_server.worker.lean.errors import ErrorCode
from authz_server.worker.lean.frames import STREAM_BITS, FrameType, frame, goaway

_SIGN = b"farewell"


class Farewell:
    """The two steps: "begin no more calls", and when the peer has heard that, which one is the last."""

    def __init__(self) -> None:
        self.last: int | None = None
        """The last call that is taken, once no more are."""
        self._begun = False

    def begin(self) -> list[bytes]:
        """The frames of the first step; the peer has heard them when it answers the PING."""
        if self._begun:
            return []
        self._begun = True
        return [goaway(STREAM_BITS, ErrorCode.NO_ERROR), frame(FrameType.PING, 0, 0, _SIGN)]

    def is_heard(self, answered: bytes) -> bool:
        """Whether the PING that the peer has answered is ours."""
        return self._begun and answered == _SIGN

    def end(self, last: int) -> list[bytes]:
        """The frame of the second step: calls after the last one are made elsewhere."""
        if self.last is not None:
            return []
        self.last = last
        return [goaway(last, ErrorCode.NO_ERROR)]
