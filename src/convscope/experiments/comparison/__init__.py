"""Two networks compared over the same images."""
