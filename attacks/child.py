"""One attempt in a process of its own: what came out, the processor time it took, the memory."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Callable, NamedTuple

from caffe_gp.errors import CaffeGPError

LOADS = "loads"
ENDLESS_SECONDS = 60  # by the clock; what waits for ever uses no processor time
_RUNAWAY_BYTES = 1 << 31  # of memory above the parent's: killed before the machine suffers
_POLL_SECONDS = 0.01
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Outcome(NamedTuple):
    """What an attempt led to.

    what      LOADS, the name of the CaffeGPError, or how it went wrong: an exception's name, a signal, ...
    message   the error's, for whoever looks
    refused   whether ``what`` is a CaffeGPError
    seconds   of the processor, of all threads
    bytes     of memory at the peak, all of the process
    """

    what: str
    message: str
    refused: bool
    seconds: float
    bytes: int


def attempt(act: Callable[[], object], folder: Path) -> Outcome:
    """``act`` in a fork of this process, which has imported everything already; ``folder`` becomes its own.

    A fork, because to import PyTorch for each would take longer than all attempts together.
    """
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(receiver)
            os.chdir(folder)
            os.write(sender, json.dumps(_done(act)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(sender)
    try:
        killed = _watch(child, receiver)
        answer = b"".join(iter(lambda: os.read(receiver, 65536), b""))
        _, status, used = os.wait4(child, 0)
    finally:
        os.close(receiver)
    if answer and not killed:
        return Outcome(*json.loads(answer))
    name = killed or (signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "died")
    return Outcome(name, "", False, used.ru_utime + used.ru_stime, used.ru_maxrss << 10)


def _done(act: Callable[[], object]) -> Outcome:
    """In the child: do it, and measure."""
    what, message, refused = LOADS, "", False
    started = time.process_time()
    try:
        act()
    except CaffeGPError as error:
        what, message, refused = type(error).__name__, str(error), True
    except BaseException as error:  # a SystemExit is a finding, too
        what, message = type(error).__name__, str(error)
    return Outcome(what, message[:2000], refused, time.process_time() - started, _peak_bytes())


def _peak_bytes() -> int:
    """The most memory that this process had; of a fork, since it began."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
        return int(status.split()[0]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _watch(child: int, receiver: int) -> str:
    """Wait until the child has answered or ended; '' or, for one that had to be killed, why."""
    most, end = _resident(os.getpid()) + _RUNAWAY_BYTES, time.monotonic() + ENDLESS_SECONDS
    while True:
        if select.select([receiver], [], [], _POLL_SECONDS)[0]:
            return ""
        why = "more than 2 GB" if _resident(child) > most else "no end" if time.monotonic() > end else ""
        if why:
            os.kill(child, signal.SIGKILL)
            return why


def _resident(process: int) -> int:
    """Bytes of memory of a process."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0
