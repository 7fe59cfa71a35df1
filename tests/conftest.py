"""For all suites."""

import os
import signal

# As `import ray` does for programs; here some test modules import grpc first.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

# A shell starts what runs in its background with SIGINT ignored, and so would be all programs that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
