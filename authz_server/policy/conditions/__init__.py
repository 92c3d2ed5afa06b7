"""Conditions: CEL expressions, checked when policies are loaded and evaluated for requests.

Everything that is peculiar to the CEL engine stays inside this package.
"""

from authz_server.policy.conditions.compiler import ConditionCompiler
from authz_server.policy.conditions.evaluation import BodyMissing, Evaluation, EvaluationError
from authz_server.policy.conditions.program import ConditionRuntime, Program
from authz_server.policy.conditions.rejection import ConditionError

__all__ = [
    "BodyMissing",
    "ConditionCompiler",
    "ConditionError",
    "ConditionRuntime",
    "Evaluation",
    "EvaluationError",
    "Program",
]
