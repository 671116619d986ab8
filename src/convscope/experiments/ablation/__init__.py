"""Table 2: a network without some layers, or with other widths."""
