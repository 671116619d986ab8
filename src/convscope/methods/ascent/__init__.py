"""Activation maximisation: objective × parametrisation × transforms × loop."""
