"""Scans: one pass over many images, and the observers that look at what the network computes."""
