"""Bounds that both transports keep."""

MAX_STREAMS = 1000
"""Calls at once on one connection (RFC 9113 section 5.1.2)."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024 + 64 * 1024
"""A request that is decided is never larger."""
LATE_S = 0.02
"""A call that has waited as long is late."""
PRESSURE_AFTER_S = 0.05
"""When there have been late calls for as long, there is pressure, and the newest come first. Where a worker only stood
still for a moment, those that came meanwhile are decided before that."""
FEW_CALLS = 32
"""Where no more wait, which are decided in a few milliseconds, only the processor time of the worker counts for that:
it may have stood still several times."""
LONGEST_WAIT_S = 0.1
"""Under pressure a call that has waited as long is denied: half of the time that Envoy gives a check by default."""
LONGEST_HOLD_S = 0.002
"""How long an answer waits for others that are being made, to be sent with them. Less than what a check keeps of the
caller's deadline: an answer that comes too late is an RPC error."""
MAX_METADATA_BYTES = 8 * 1024 * 1024
"""Envoy sends a client's `tracestate` along with Check: no client may choose a size that ends in an RPC error. This is
the most that Envoy can be told to accept as headers."""
