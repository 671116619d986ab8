"""Table 1: several networks averaged."""
