"""Canonical forms of a request: path, host, method, headers, query. Pure functions."""
