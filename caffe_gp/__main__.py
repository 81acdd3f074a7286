"""The command ``caffe_gp``, as a script and as ``python -m caffe_gp``."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. Ctrl-C is one line from the first import on."""
    try:
        from caffe_gp.cli.main import main as command

        return command(arguments)
    except KeyboardInterrupt:
        print("caffe_gp: interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
