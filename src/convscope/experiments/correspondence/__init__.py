"""arXiv Table 1: whether the same part of different pictures is treated alike."""
