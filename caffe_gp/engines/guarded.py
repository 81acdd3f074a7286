"""A child process around an engine that aborts: its last words become an exception.

BVLC Caffe answers a bad file or a wrong shape with a failed CHECK, which ends the process that loaded it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import signal
import sys
from multiprocessing.connection import wait
from typing import Any, Callable

from caffe_gp.errors import CaffeGPError, EngineError

# glog: severity letter and date, time, thread, file:line] message
_FATAL = re.compile(rb"^F\d{4,8} \d\d:\d\d:\d\d\.\d+ +\d+ ([^\s:]+:\d+)\] ([^\r\n]*)", re.MULTILINE)
_KEPT_BYTES = 1 << 16
_in_child = False


def in_child() -> bool:
    """Whether this process is a child of ``run_guarded``, which may die."""
    return _in_child


def run_guarded(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` in a forked child and return its (picklable) result.

    Exceptions come back as they were. If the child dies, as BVLC Caffe does on a failed CHECK, EngineError
    holds the last fatal message it wrote. Its stderr is passed on as it comes, so progress bars work.
    Fork before the engine is loaded: threads of the parent do not exist in the child.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = context.Process(
        target=_child_main, args=(sender, receiver, read_end, write_end, function, args, kwargs)
    )
    tail = bytearray()
    try:
        child.start()
        sender.close()
        os.close(write_end)
        outcome = _listen(child, receiver, read_end, tail)
        child.join()
    except KeyboardInterrupt:
        # The terminal sent Ctrl-C to the child as well: let it finish its file, then stop.
        if child.is_alive():
            _listen(child, receiver, read_end, tail)
        raise
    finally:
        if child.is_alive():
            child.terminate()
            child.join()
        os.close(read_end)
        receiver.close()
    if outcome is None:
        raise EngineError(_death_message(child.exitcode, bytes(tail)))
    kind, value = pickle.loads(outcome)
    if kind == "error":
        raise value
    return value


def _listen(child: Any, receiver: Any, read_end: int, tail: bytearray) -> bytes | None:
    """Pass the child's stderr on until the child ends; what it sent, or None if it died before.

    A thread for stderr would do, but not for the next child: Python's join() returns while the thread is
    still ending, with the loader's lock in its hands, and a child forked then waits for the lock forever.
    """
    outcome, ended, sources = None, False, [receiver, read_end, child.sentinel]
    while True:
        ready = wait(sources, timeout=0 if ended else 1.0)
        if ended and not ready:
            return outcome
        if receiver in ready:
            sources.remove(receiver)
            try:
                outcome = receiver.recv_bytes()
            except (EOFError, OSError):  # it died before or while it sent
                pass
        if read_end in ready and not _pass_on(read_end, tail):
            sources.remove(read_end)
        # Children of the child that outlive it hold all three ends: then is_alive() tells.
        ended = ended or child.sentinel in ready or not child.is_alive()
        if child.sentinel in ready:
            sources.remove(child.sentinel)


def _child_main(
    sender: Any,
    receiver: Any,
    read_end: int,
    write_end: int,
    function: Callable[..., Any],
    args: Any,
    kwargs: Any,
) -> None:
    global _in_child
    _in_child = True
    receiver.close()
    os.close(read_end)
    os.dup2(write_end, 2)
    os.close(write_end)
    # Python's own messages too, whatever the parent had put in place of sys.stderr.
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    try:
        outcome = ("result", function(*args, **kwargs))
    except KeyboardInterrupt as error:
        outcome = ("error", error)
    except Exception as error:
        outcome = ("error", error)
    try:
        message = pickle.dumps(outcome)
    except Exception as error:
        message = pickle.dumps(
            ("error", CaffeGPError(f"{outcome[1]!r} cannot be handed to the parent: {error}"))
        )
    sender.send_bytes(message)
    sender.close()


def _pass_on(read_end: int, tail: bytearray) -> bool:
    """Copy what is there of the child's stderr to ours, up to a fatal message, and keep the last part.

    False at its end.
    """
    block = os.read(read_end, 4096)
    tail.extend(block)
    fatal = _FATAL.search(bytes(tail))
    shown = block if fatal is None else block[: max(0, fatal.start() - len(tail) + len(block))]
    try:
        sys.stderr.write(shown.decode("utf-8", errors="replace"))
        sys.stderr.flush()
    except ValueError:  # stderr was closed: the messages are kept all the same
        pass
    del tail[:-_KEPT_BYTES]
    return bool(block)


def _death_message(exit_code: int | None, tail: bytes) -> str:
    found = _FATAL.findall(tail)
    if found:
        place, message = found[-1]
        return f"BVLC Caffe stopped at {place.decode()}: {message.decode(errors='replace').strip()}"
    how = f"exit code {exit_code}"
    if exit_code is not None and exit_code < 0:
        try:
            how = signal.Signals(-exit_code).name
        except ValueError:
            how = f"signal {-exit_code}"
        if how == "SIGKILL":
            how += " (the system kills processes when memory runs out: try smaller images or batches)"
    lines = tail.decode(errors="replace").strip().splitlines()
    last = f"; its last line: {lines[-1]}" if lines else ""
    return f"the engine's process died: {how}{last}"
