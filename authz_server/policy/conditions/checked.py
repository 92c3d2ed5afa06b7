"""The engine's checked expressions: taken apart, and in a form that is the same bytes for the same source."""

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from authz_server.pb.authz.v1.checked_expression_pb2 import CheckedExpression, Expr

__all__ = ["Expr", "Parsed", "literal_text"]


class Parsed:
    """A checked expression with the offsets of its parts."""

    def __init__(self, serialized: bytes) -> None:
        """Raises ValueError where it is nested too deeply to be taken apart."""
        envelope = Any.FromString(serialized)
        try:
            checked = CheckedExpression.FromString(envelope.value)
        except DecodeError as error:
            raise ValueError("nested too deeply") from error
        self.expr: Expr = checked.expr
        self._offsets = dict(checked.source_info.positions)
        # Offsets serve messages at load only, and maps are serialized in random order unless told otherwise.
        checked.ClearField("source_info")
        envelope.value = checked.SerializeToString(deterministic=True)
        self.ast: bytes = envelope.SerializeToString(deterministic=True)

    def offset(self, expr: Expr) -> int:
        """Where the engine places a part, in characters from 0: an operator, a dot, an opening parenthesis."""
        return self._offsets.get(expr.id, 0)


def literal_text(expr: Expr) -> str | None:
    """The value of a quoted text; None for anything else."""
    if expr.WhichOneof("expr_kind") != "const_expr" or not expr.const_expr.HasField("string_value"):
        return None
    return expr.const_expr.string_value
