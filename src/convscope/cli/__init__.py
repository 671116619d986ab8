"""Floor 8: parse, call, print. One file per verb group."""

from convscope.cli.app import main

__all__ = ["main"]
