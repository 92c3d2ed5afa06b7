"""The entry of a worker process: its arguments are the number of the socket to the control process, and the transport.

It loads everything before it is told which worker it is, so that a spare process can take a worker's place at once.
"""

import os
import socket
import sys

# A port that cannot be bound is told to the control process, in words; the library need not shout as well.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# The thread that answers also reads the sockets; otherwise threads of the library read them and wake it for each call.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")

from authz_server.worker.main import run_worker
from authz_server.worker.server import load_transport

load_transport(sys.argv[2])
sys.exit(run_worker(socket.socket(fileno=int(sys.argv[1]))))
