"""Floor 6: one experiment of the paper a file."""
