"""A sample service of the compose demo: `python sample.py NAME`."""

import sys

import uvicorn

from authz_server.dev.sample_service import sample_service

if __name__ == "__main__":
    # Envoy alone shares a network with it.
    uvicorn.run(
        sample_service(sys.argv[1]),
        host="0.0.0.0",  # noqa: S104
        port=8080,
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
