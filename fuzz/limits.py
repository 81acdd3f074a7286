"""What one input may take, in the process that tries it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Callable

from caffe_gp.errors import CaffeGPError

# What a net may take, so that those that say they need more are refused; and what may be taken after all: the
# libraries below take some for themselves.
MAX_BYTES = 64 << 20
MOST_BYTES = 256 << 20
# Of the processor: 2 s are promised (attacks/), and instrumented code is slower.
MOST_SECONDS = 6.0

_PAGE = os.sysconf("SC_PAGE_SIZE")


class TooMuchError(Exception):
    """An input that took more time or memory than any may."""


def bounded(run: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """``run`` with the limits; a CaffeGPError is a fine answer, and everything else goes on."""

    def once(data: bytes) -> None:
        before, highest = _resident(), _peak()
        started = time.process_time()
        try:
            run(data)
        except CaffeGPError:
            pass
        seconds, peak = time.process_time() - started, _peak()
        if seconds > MOST_SECONDS:
            raise TooMuchError(f"{seconds:.1f} s of the processor; at most {MOST_SECONDS} s are allowed")
        if peak > highest and peak - before > MOST_BYTES:
            raise TooMuchError(
                f"{(peak - before) >> 20} MB of memory; at most {MOST_BYTES >> 20} are allowed"
            )

    return once


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
