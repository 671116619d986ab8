"""A deconvolutional network that learns: sparse codes, pooled with switches, and filters."""
