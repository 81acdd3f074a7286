"""The progress of everything that takes long: the bar, who else is told, and log lines above the bar.

The package logs to ``logging.getLogger("caffe_gp")`` and to children named after its modules, and sets up no
handlers: that is for the program that uses it. The command line does it with ``log_shown``.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from caffe_gp.errors import printable

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
