"""Fig. 6: what falls where parts of an image are covered."""
