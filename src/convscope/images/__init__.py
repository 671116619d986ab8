"""Floor 1: what the network looks at. Files, preprocessing, data sets, rendered scenes."""
