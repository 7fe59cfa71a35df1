"""For all suites."""

import os

# As `import ray` does for programs; here some test modules import grpc first.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
