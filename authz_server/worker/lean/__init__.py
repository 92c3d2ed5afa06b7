"""Unary gRPC calls over HTTP/2 by one thread: for a proxy on the same machine, without TLS."""
