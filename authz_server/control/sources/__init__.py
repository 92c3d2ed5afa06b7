"""Policies that are fetched: from where, how, and what is kept of them."""
