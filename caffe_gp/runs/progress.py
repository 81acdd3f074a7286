"""The progress of everything that takes long: the bar, who else is told, and log lines above the bar.

The package logs to ``logging.getLogger("caffe_gp")`` and to children named after its modules, and sets up no
handlers: that is for the program that uses it. The command line does it with ``log_shown``.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from caffe_gp.errors import printable

_SECONDS = 10  # between lines where there is no terminal
_COUNTED = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s, {remaining} left{postfix}"
_SHARE = "{desc}{percentage:3.0f}%|{bar}| {remaining} left{postfix}"

#: Called as ``on_progress(done, total, what)``: images so far and in all, and a few words, maybe none.
OnProgress = Callable[[int, int, str], object]


def during(phase: str, on_progress: OnProgress | None) -> OnProgress | None:
    """``on_progress`` for a part of the work, whose name is put in front of the words."""
    if on_progress is None:
        return None
    return lambda done, total, what: on_progress(done, total, f"{phase}: {what}" if what else phase)


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


class _Lines:
    """What is used of a tqdm bar, as lines of their own that other messages do not run into."""

    def __init__(self, total: int, unit: str, what: str, initial: int) -> None:
        self.total, self.n = total, initial
        self._unit, self._what, self._initial, self._words = unit, what, initial, ""
        self._begun = self._said = time.monotonic()
        self._closed = False

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
        """The last line: how far it came."""
        if self.total and not self._closed:
            self._say()
        self._closed = True

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


class _AboveTheBar(logging.Handler):
    """Lines on stderr, above a bar if one is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(printable(self.format(record)), file=sys.stderr)


@contextmanager
def log_shown(shown: bool = True) -> Iterator[None]:
    """Within it the package's log is on stderr, from INFO up; of the embedded Caffe only warnings."""
    if not shown or is_log_shown():
        yield
        return
    log, caffe, handler = logging.getLogger("caffe_gp"), logging.getLogger("caffe_gp.caffe"), _AboveTheBar()
    before = log.level, caffe.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    caffe.setLevel(before[1] or logging.WARNING)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        caffe.setLevel(before[1])


def is_log_shown() -> bool:
    """Whether ``log_shown`` is at work in this process."""
    return any(isinstance(one, _AboveTheBar) for one in logging.getLogger("caffe_gp").handlers)
