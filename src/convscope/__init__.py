"""Convscope: a microscope for convolutional networks."""
