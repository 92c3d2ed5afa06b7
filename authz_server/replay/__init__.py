"""Recorded decisions, made again on other policies."""
