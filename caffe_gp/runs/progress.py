"""The progress bar of everything that takes long."""

from __future__ import annotations

import sys
from typing import Any

from caffe_gp.errors import printable


def progress_bar(
    total: int, *, unit: str = "image", what: str | None = None, initial: int = 0, quiet: bool = False
) -> Any:
    """A tqdm bar on stderr; ``quiet`` shows none. In a log file every update is a line, so they are rare."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=initial,
        unit=unit,
        desc=what,
        disable=quiet,
        file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 10,
    )


def say(line: str) -> None:
    """A line on stderr, above a bar if one is shown."""
    from tqdm import tqdm

    tqdm.write(printable(line), file=sys.stderr)
