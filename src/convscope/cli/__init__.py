"""Floor 8: parse, call, print."""
