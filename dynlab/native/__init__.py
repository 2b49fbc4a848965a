"""Native recurrences: the sources of ``kernels/`` compiled, loaded, and bound as operators of PyTorch."""
