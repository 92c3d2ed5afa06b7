"""Checks policy documents against each other and makes them into a plan."""

from authz_server.policy.compiler.compiler import compile_policies
from authz_server.policy.compiler.names import KnownNames

__all__ = ["KnownNames", "compile_policies"]
