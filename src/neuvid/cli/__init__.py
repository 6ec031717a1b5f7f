"""The command line; what must be set before PyTorch is imported is set here."""

import os
import time

STARTED = time.monotonic()  # when the command began

# Threads of OpenMP that spin while they wait would slow down the other threads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
