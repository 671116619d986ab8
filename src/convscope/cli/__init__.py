"""Floor 8, the command line: parse, call, print. One file per verb."""

from convscope.cli.app import main

__all__ = ["main"]
