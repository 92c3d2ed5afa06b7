"""One request as conditions see it: a variable is made when an expression that reads it is evaluated."""

from collections.abc import Callable, Mapping

from cel_expr_python import cel

from authz_server.model import User, Workload
from authz_server.policy.conditions.values import Unusable, largest
from authz_server.request.operation import Operation
from authz_server.request.query import UnreadableQuery, parse_query

MAX_ELEMENTS = 256
MAX_TEXT = 8192
"""Elements of a list, and characters of a text, that an expression with macros reads: its cost is their product."""


class EvaluationError(Exception):
    """An expression that cannot be evaluated for this request.

    The message is for operators: it names attributes and holds nothing of their values.
    """


Binding = Callable[["Evaluation", Mapping[str, str]], object]
"""Makes a variable from a request and the captures of a path. Raises Unusable."""


class Needs:
    """The variables that an expression reads; expressions that read the same share one, and their activations."""

    def __init__(
        self, environment: cel.Env, bindings: Mapping[str, Binding], *, iterates: bool, reads_path: bool
    ) -> None:
        self.environment = environment
        self.bindings = bindings
        self.items = tuple(bindings.items())
        self.reads_captures = "path" in bindings
        self.reads_path = reads_path
        """Whether what is read differs between the readings of a path."""
        self.iterates = iterates


class Evaluation:
    """One request, for any number of expressions; for one thread."""

    def __init__(self, operation: Operation, workload: Workload | None, user: User | None, now: float) -> None:
        """`now` is in seconds since the epoch."""
        self.operation = operation
        self.workload = workload
        self.user = user
        self.now = now
        self.known: dict[object, cel.Value] | None = None
        """What programs that do not read the path have computed; None where there is one reading of it alone."""
        self._query: dict[str, list[str]] | None = None
        self._first: Evaluation | None = None
        self._activations: dict[Needs, cel.Activation] = {}
        self._captures: Mapping[str, str] = {}
        """Those of the activations that hold captures."""

    def reread(self, operation: Operation) -> "Evaluation":
        """The same for another reading of the path; what does not depend on the path is computed once for all."""
        if self.known is None:
            self.known = {}
        other = Evaluation(operation, self.workload, self.user, self.now)
        other.known, other._first = self.known, self
        return other

    def query(self) -> dict[str, list[str]]:
        """The parameters of the query. Raises Unusable."""
        if self._query is None and self._first is not None:
            self._query = self._first.query()
        if self._query is None:
            try:
                self._query = parse_query(self.operation.query_text)
            except UnreadableQuery as error:
                raise Unusable(str(error)) from error
        return self._query

    def activation(self, needs: Needs, captures: Mapping[str, str]) -> cel.Activation:
        """The variables that are needed and can be bound. Raises EvaluationError where a list is too long."""
        if needs.reads_captures and captures is not self._captures:
            self._activations = {kept: value for kept, value in self._activations.items() if not kept.reads_captures}
            self._captures = captures
        activation = self._activations.get(needs)
        if activation is None:
            data = {}
            for name, binding in needs.items:
                try:
                    data[name] = binding(self, captures)
                except Unusable:
                    # Not bound, so that only what uses it fails.
                    continue
                if needs.iterates:
                    _check_size(name, data[name])
            activation = self._activations[needs] = needs.environment.Activation(data)
        return activation

    def why_unbound(self, needs: Needs, name: str, captures: Mapping[str, str]) -> str:
        """Why a variable is not bound."""
        try:
            needs.bindings[name](self, captures)
        except Unusable as error:
            return str(error)
        return f"there is no `{name}`"


def _check_size(name: str, value: object) -> None:
    elements, text = largest(value)
    if elements > MAX_ELEMENTS:
        raise EvaluationError(f"`{name}` has more than {MAX_ELEMENTS} elements, too many for a macro")
    if text > MAX_TEXT:
        raise EvaluationError(f"`{name}` has a text of more than {MAX_TEXT} characters, too long for a macro")
