"""The progress of everything that takes long: a bar in a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from caffe_gp.errors import printable

_SECONDS = 10  # between lines of a log
_COUNTED = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s, {remaining} left{postfix}"
_SHARE = "{desc}{percentage:3.0f}%|{bar}| {remaining} left{postfix}"


def progress_bar(
    total: int, *, unit: str = "image", what: str | None = None, initial: int = 0, quiet: bool = False
) -> Any:
    """A bar on stderr that is moved by ``update``; ``quiet`` shows none. Where stderr is no terminal: lines.

    unit   what is counted; empty: a share of the work and the time left, no numbers
    what   in front
    """
    if not quiet and not sys.stderr.isatty():
        return _Lines(total, unit, what or "", initial)
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=initial,
        unit=unit,
        desc=what,
        disable=quiet,
        file=sys.stderr,
        mininterval=0.2,
        bar_format=_COUNTED if unit else _SHARE,
    )


def say(line: str) -> None:
    """A line on stderr, above a bar if one is shown."""
    from tqdm import tqdm

    tqdm.write(printable(line), file=sys.stderr)


class _Lines:
    """What is used of a tqdm bar, as lines of their own that other messages do not run into."""

    def __init__(self, total: int, unit: str, what: str, initial: int) -> None:
        self.total, self.n = total, initial
        self._unit, self._what, self._initial, self._words = unit, what, initial, ""
        self._begun = self._said = time.monotonic()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        """So much more is done."""
        self.n += n
        self._tell()

    def set_postfix_str(self, words: str = "", refresh: bool = True) -> None:
        """What is said beside it."""
        self._words = words
        if refresh:
            self._tell()

    def close(self) -> None:
        """The last line, if anything was done."""
        if self.n > self._initial:
            self._say()
        self._initial = self.n

    def _tell(self) -> None:
        if time.monotonic() - self._said >= _SECONDS and self.n < self.total:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        parts = [f"{self.n}/{self.total} {self._unit}s" if self._unit else f"{100 * self.n // self.total} %"]
        done = self.n - self._initial
        if 0 < done and self.n < self.total:
            seconds = (self._said - self._begun) / done * (self.total - self.n)
            parts.append(f"{seconds:.0f} s left")
        parts += [self._words] * bool(self._words)
        what = f"{self._what}: " * bool(self._what)
        sys.stderr.write(printable(what + ", ".join(parts)) + "\n")
        sys.stderr.flush()
