"""Fig. 5: what is wrong with a network, what the paper would do, and whether that helps."""
