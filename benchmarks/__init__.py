"""What a check costs, measured beside a gRPC server that answers a constant. `python -m benchmarks` prints a table."""
