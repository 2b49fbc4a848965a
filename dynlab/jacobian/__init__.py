"""Step Jacobians with their structure, their products with logarithmic scales, and the sweeps that take them."""
