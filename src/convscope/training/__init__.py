"""Training with the paper's recipe: from an architecture and labelled images to weights."""
