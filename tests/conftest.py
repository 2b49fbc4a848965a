"""What all tests share."""

import torch

# The tests' tensors are small: a second thread only waits, and on a busy machine it waits long.
torch.set_num_threads(1)
