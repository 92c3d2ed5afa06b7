"""The border to Envoy: the only package that knows its messages and its configuration."""
