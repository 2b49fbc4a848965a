"""What all tests share."""

import os

import torch

from dynlab.native import library

# The tests' tensors are small: a second thread only waits, and on a busy machine it waits long.
torch.set_num_threads(1)

# Compiled before the tests begin, so that no test sees the line that says so. Where it cannot be compiled, the loops
# are asked for: that falling back is said once is tested by itself.
if not library.status("cpu").available:
    os.environ.setdefault("DYNLAB_BACKEND", "reference")
