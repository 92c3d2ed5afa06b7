"""The engine's checked expressions: taken apart, and in a form that is the same bytes for the same source."""

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from authz_server.pb.authz.v1.checked_expression_pb2 import CheckedExpression, Expr

__all__ = ["Expr", "Parsed", "literal_text"]


class Parsed:
    """A checked expression with the offsets of its parts."""

    def __init__(self, serialized: bytes) -> None:
        """Raises ValueError where it is nested too deeply to be taken apart."""
        self._envelope = Any.FromString(serialized)
        try:
            self._checked = CheckedExpression.FromString(self._envelope.value)
        except DecodeError as error:
            raise ValueError("nested too deeply") from error
        self.expr: Expr = self._checked.expr

    def offset(self, expr: Expr) -> int:
        """Where the engine places a part, in characters from 0: an operator, a dot, an opening parenthesis."""
        return self._checked.source_info.positions.get(expr.id, 0)

    def start(self, expr: Expr) -> int:
        """Where a part begins, in characters from 0."""
        while True:
            kind = expr.WhichOneof("expr_kind")
            if kind == "select_expr":
                expr = expr.select_expr.operand
            elif kind == "call_expr" and expr.call_expr.HasField("target"):
                expr = expr.call_expr.target
            elif kind == "call_expr" and len(expr.call_expr.args) > 1:
                # An operator stands between its operands.
                expr = expr.call_expr.args[0]
            else:
                return self.offset(expr)

    def replace_by_lookup(self, expr: Expr, variable: str) -> None:
        """Make `target.function("literal")` into `variable["literal"]`; a map of values of the same type."""
        call = expr.call_expr
        target = call.target.id
        call.ClearField("target")
        call.function = "_[_]"
        call.args.insert(0, Expr(id=target, ident_expr=Expr.Ident(name=variable)))
        references = self._checked.reference_map
        references[target].name = variable
        references[expr.id].overload_id[:] = ["index_map"]
        self._checked.type_map.pop(target, None)

    def serialized(self) -> bytes:
        """What the engine loads. The same source gives the same bytes."""
        # Offsets serve messages at load only, and maps are serialized in random order unless told otherwise.
        self._checked.ClearField("source_info")
        self._envelope.value = self._checked.SerializeToString(deterministic=True)
        return self._envelope.SerializeToString(deterministic=True)


def literal_text(expr: Expr) -> str | None:
    """The value of a quoted text; None for anything else."""
    if expr.WhichOneof("expr_kind") != "const_expr" or not expr.const_expr.HasField("string_value"):
        return None
    return expr.const_expr.string_value
