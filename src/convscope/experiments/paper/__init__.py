"""All of the paper in one run, and its claims judged."""
