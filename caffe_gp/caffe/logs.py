"""Caffe's log lines on standard error, in glog's format, for scripts and for readers of training logs."""

from __future__ import annotations

import logging
import sys
import time

LOGGER = "caffe_gp.caffe"  # above those of the modules here
_LEVELS = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)  # glog's 0 to 3
_handler: logging.Handler | None = None


class _GlogFormatter(logging.Formatter):
    """``I1123 00:16:11.482913  4711 solver.py:204] Iteration 100, lr = 0.01``."""

    def format(self, record: logging.LogRecord) -> str:
        letter = "F" if record.levelno >= logging.CRITICAL else record.levelname[0]
        when = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        micro = int(record.created % 1 * 1e6)
        place = f"{record.filename}:{record.lineno}"
        return f"{letter}{when}.{micro:06d} {record.process:5d} {place}] {record.getMessage()}"


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Show the logger 'caffe_gp.caffe' on standard error, from a level up: 0 INFO, 1 WARNING, 2 ERROR or 3.

    pycaffe's ``init_log``. Without this call the lines go wherever Python's ``logging`` is set up to send
    them, by default nowhere. ``stderr=False`` takes them off standard error again, and at level 0 leaves
    it to Python's ``logging`` which of them are wanted.
    """
    global _handler
    logger = logging.getLogger(LOGGER)
    if _handler is not None:
        logger.removeHandler(_handler)
        _handler = None
    logger.setLevel(_LEVELS[min(max(level, 0), 3)] if stderr or level > 0 else logging.NOTSET)
    if stderr:
        _handler = logging.StreamHandler(sys.stderr)
        _handler.setFormatter(_GlogFormatter())
        logger.addHandler(_handler)


def log(message: str) -> None:
    """Write a line of level INFO to the logger 'caffe_gp.caffe'."""
    logging.getLogger(LOGGER).info("%s", message, stacklevel=2)
