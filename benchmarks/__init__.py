"""Benchmarks, run as modules from the root of the repository: ``python -m benchmarks.jacobians``."""

import os

# Before torch is imported. By default threads of OpenMP spin while they wait; as soon as another process needs one of
# their cores, that costs factors of 2 to 300 and hits torch only, since XLA's threads sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
