"""What the comparison widget draws: datasets in, artists updated in place."""
