"""Boxes of pixels and windows of layers: numbers only, without torch or images."""
