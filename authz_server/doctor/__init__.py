"""Reads an Envoy configuration beside the policies and says what does not fit, and what a request could pass by."""
