"""Floor 5: training with the paper's recipe."""
