"""Rendered scenes: a labelled data set with known truth, drawn from (split, seed, index)."""
