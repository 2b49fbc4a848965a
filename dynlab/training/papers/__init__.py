"""The hyperparameters of the papers, a file each."""
