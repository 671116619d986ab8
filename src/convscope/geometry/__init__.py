"""Floor 0: numbers only. Boxes of pixels and windows of layers."""
