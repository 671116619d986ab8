"""Work on the part of the maps that matters: changed boxes upward, receptive fields downward."""
