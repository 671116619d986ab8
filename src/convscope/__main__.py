"""The program: `convscope`, or `python -m convscope`."""

import sys

from convscope.ending import leave, listen, told_by

__all__ = ["run"]


def run() -> int:
    """Run the command line of this process, and end at once where a signal asks for it."""
    listen()
    try:
        from convscope.cli import main  # takes a moment, in which one may change one's mind

        code = main()
    except BaseException:
        number = told_by()
        if number is None:
            raise
        leave(number)
    number = told_by()
    if number is not None:
        leave(number, said=True)
    return code


if __name__ == "__main__":
    sys.exit(run())
