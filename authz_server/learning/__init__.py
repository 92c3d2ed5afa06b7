"""A first policy, from what is on record of a service."""
