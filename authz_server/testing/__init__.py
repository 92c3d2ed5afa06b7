"""Runs the tests of policies on the engine that serves, and measures what they test. Never part of a worker."""
